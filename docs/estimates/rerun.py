"""Runs the lattice estimator on each key of the named parameter sets, and writes what `gpt2-fhe audit` reads.

    git clone https://github.com/malb/lattice-estimator estimator
    git -C estimator checkout 27a581bb8e9d49f5e9e2db315bd48ac769d5f5f5
    sage --python docs/estimates/rerun.py estimator 27a581b new.json
    git -C estimator checkout 352ddaf
    sage --python docs/estimates/rerun.py estimator 352ddaf old.json
    sage --python docs/estimates/rerun.py --join new.json old.json > gpt2-fhe/src/audit/estimates.json

It takes Sage, which nothing else here does, so no test runs it, and it was not run as it stands: the recorded file was made by the same
calls, by hand. Runs with TUniform noise itself, and under the model ADPS16, are recorded for two keys and not repeated here. The keys are
those of `tfhe-core/src/parameters/sets.rs`; a new key has to be added to KEYS below, and until then the audit says that it has no
record.

Names of attacks and cost models are the estimator's. "m" is the number of samples: "oo" for any number. "error" is the noise: "gauss"
for a discrete Gaussian with the key's standard deviation, "TU15" for TUniform(15) itself.
"""

import json
import math
import sys

Q_LOG = 64


def tuniform(bound_log):
    """log2 of the standard deviation of TUniform(b), a fraction of the torus."""
    return 0.5 * math.log2((2 ** (2 * bound_log + 1) + 1) / 6) - Q_LOG


# n, or kN; log2 of the standard deviation of the noise.
KEYS = [
    (2048, tuniform(15)),  # packed_head, packed_block: lookup; head_exact_narrow: GLWE
    (896, -19.64),  # the same: small
    (902, tuniform(45)),  # head_exact_narrow, head_exact, head_exact_wide: LWE
    (918, tuniform(45)),  # message_2_carry_2: LWE
    (2048, tuniform(17)),  # message_2_carry_2: GLWE
    (4096, tuniform(3)),  # all others: GLWE, and arithmetic ring
]

ATTACKS = ["usvp", "bdd", "dual_hybrid"]
# Never the cheapest: with any number of samples only.
OTHER_ATTACKS = ["bdd_hybrid", "bdd_mitm_hybrid", "dual"]


def run(folder, commit):
    sys.path.insert(0, folder)
    from estimator import LWE, ND, RC
    from sage.all import oo

    calls = {
        "usvp": LWE.primal_usvp,
        "bdd": LWE.primal_bdd,
        "dual_hybrid": LWE.dual_hybrid,
        "dual": LWE.dual,
        "bdd_hybrid": lambda parameters, **options: LWE.primal_hybrid(parameters, mitm=False, babai=False, **options),
        "bdd_mitm_hybrid": lambda parameters, **options: LWE.primal_hybrid(parameters, mitm=True, babai=True, **options),
    }
    keys = []
    for n, log2_sigma in KEYS:
        runs = []
        for m_name, m in [("oo", oo), ("2n", 2 * n)]:
            noise = ND.DiscreteGaussian(2 ** (Q_LOG + log2_sigma))
            parameters = LWE.Parameters(n=n, q=2**Q_LOG, Xs=ND.Uniform(0, 1), Xe=noise, m=m)
            others = OTHER_ATTACKS if m_name == "oo" else []
            for attack in ATTACKS + others:
                try:
                    cost = calls[attack](parameters, red_cost_model=RC.MATZOV)
                except Exception as error:  # The estimator raises what it likes; a run that failed is no record.
                    print(f"{attack} at n = {n}: {error}", file=sys.stderr)
                    continue
                rop = round(float(math.log2(cost["rop"])), 2)
                runs.append(
                    {"commit": commit, "attack": attack, "m": m_name, "error": "gauss", "model": "MATZOV", "log2_rop": rop}
                )
                print(runs[-1], file=sys.stderr)
        keys.append({"n": n, "log2_sigma": log2_sigma, "runs": runs})
    return {
        "estimator": "malb/lattice-estimator",
        "commits": {commit: commit},
        "q": f"2^{Q_LOG}",
        "secret": "Uniform(0, 1)",
        "keys": keys,
    }


def join(documents):
    """The runs of several documents, key by key."""
    whole = documents[0]
    for document in documents[1:]:
        whole["commits"].update(document["commits"])
        for key, more in zip(whole["keys"], document["keys"], strict=True):
            assert key["n"] == more["n"] and abs(key["log2_sigma"] - more["log2_sigma"]) < 1e-5
            key["runs"] += more["runs"]
    return whole


def main():
    arguments = sys.argv[1:]
    if arguments[:1] == ["--join"]:
        documents = []
        for path in arguments[1:]:
            with open(path) as file:
                documents.append(json.load(file))
        print(json.dumps(join(documents), indent=2))
        return
    folder, commit, path = arguments
    with open(path, "w") as file:
        json.dump(run(folder, commit), file, indent=2)


if __name__ == "__main__":
    main()
