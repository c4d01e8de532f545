"""What scripts/crash runs: everything is killed, cut and filled up under a campaign, and then counted.

Begin at `run.py`: a house is opened, a campaign is announced, blows fall on it, an operator resolves what is in doubt,
and then receipts, ledger and Optimove are compared row by row (`compare.py`).
"""
