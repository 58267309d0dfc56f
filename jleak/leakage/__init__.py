"""What a shared update gives away, measured without attacking it.

Tools of the client, who knows its own batch: scores that it can look at before it shares.
"""

from jleak.leakage.mixing import Mixing, mixing

__all__ = ["Mixing", "mixing"]
