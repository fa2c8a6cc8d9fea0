"""Names of files in the folder of a run that more than one stage knows."""

NEAR, ASIMOV = "near_detector.nc", "asimov.nc"
BUDGET, BANDS = "budget.json", "budget.nc"
TRAINING = "training.csv"
