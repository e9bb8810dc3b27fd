"""Notes that several tables share."""

from __future__ import annotations

__all__ = ["PAIRING", "PAPER_IS_IMAGENET"]

PAIRING = (
    "The paper's pairing centralises weights (WC) with the modified form alone. Rows marked (control) do otherwise, "
    "so that WC's part can be told from the normaliser's."
)
PAPER_IS_IMAGENET = (
    "The paper's numbers are top-1 errors of ResNet-50 on ImageNet; only signs and orders can be compared with ours. "
    "Its BN and BRN average with decay 0.9, ours with 0.98 and 0.99: `mabn-ref paper equation6` shows what that does "
    "to BN, and `mabn-ref paper search` what it does to BRN."
)
