"""jleak audits what a shared gradient gives away.

The parts, from the floor up: `types`, `tree`, `check`; `models`, `losses`, `distances`, `penalties`,
`metrics`, `data`; `clients`, `labels`, `spaces`; `defenses`, `search`; `attacks`; `catalog`; `audit`;
`report`, `cli`. A part imports only from lower ones. Importing `jleak` itself imports none of them.
"""
