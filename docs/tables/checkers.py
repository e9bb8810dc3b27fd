"""Three gradient checkers on the same functions: what each refuses that is right, and accepts that is wrong."""

import json
from pathlib import Path

KEPT = json.loads((Path(__file__).parents[1] / "results" / "gradcheck" / "checkers.json").read_text(encoding="utf-8"))
FUNCTIONS = KEPT["functions"]
RIGHT = [f for f in FUNCTIONS if f["right"] and not f["coarse"]]
COARSE = [f for f in FUNCTIONS if f["right"] and f["coarse"]]
WRONG = [f for f in FUNCTIONS if not f["right"]]

print(".. list-table::\n   :header-rows: 1\n")
print("   * - \n     - right, refused\n     - right but coarse, refused\n     - wrong, accepted")
for name in FUNCTIONS[0]["accepted"]:
    refused, coarse = (sum(not f["accepted"][name] for f in group) for group in (RIGHT, COARSE))
    accepted = sum(f["accepted"][name] for f in WRONG)
    print(f"   * - ``{name}``\n     - {refused} of {len(RIGHT)}\n     - {coarse} of {len(COARSE)}")
    print(f"     - {accepted} of {len(WRONG)}")
print(f"\nVersions: {', '.join(f'{name} {version}' for name, version in KEPT['versions'].items())}.")
print(f"By ``{KEPT['command']}``.")
