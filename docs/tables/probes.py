"""What the check asks about a layer's behaviour, and how."""

from mabn_ref.check.probes import PROBES

print(".. list-table::\n   :header-rows: 1\n   :widths: 30 70\n\n   * - probe\n     - what is done")
for probe in PROBES:
    print(f"   * - {probe.name}\n     - {probe.done}")
