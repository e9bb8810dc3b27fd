"""What the abbreviations in the tables of the findings mean."""

from recorded import SPELLED_OUT

NORMALISERS = {
    "BN": "batch normalisation",
    "SyncBN": "batch normalisation whose batch is spread over several devices",
    "BRN": "Batch Renormalization",
    "GN, LN, IN": "group, layer and instance normalisation, which need no batch",
}

print(".. list-table::\n   :widths: 15 85\n")
for short, words in (NORMALISERS | SPELLED_OUT).items():
    print(f"   * - {short}\n     - {words}")
