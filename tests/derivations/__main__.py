"""Cases as JSON: `python -m tests.derivations --seed 0 --cases 500 > cases.json`."""

import argparse
import json
import sys

from tests.derivations.planted import planted

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--seed", default="0")
parser.add_argument("--cases", type=int, default=500)
options = parser.parse_args()
json.dump([case.as_dict() for case in planted(options.seed, options.cases)], sys.stdout, indent=1, ensure_ascii=False)
