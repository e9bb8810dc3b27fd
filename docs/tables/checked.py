"""What a layer can be checked as, by the names that ``--as`` takes."""

from itertools import groupby

from mabn_ref.cli.checks import CHECKED
from mabn_ref.norms import NORMS

print(".. list-table::\n   :widths: 28 72\n")
for module, names in groupby(CHECKED, key=lambda name: NORMS[name].module):
    print(f"   * - {', '.join(f'``{name}``' for name in names)}")
    page = module.__name__.removeprefix("mabn_ref.")
    print(f"     - :doc:`{module.__doc__.partition(':')[0]} </api/{page}>`")
