"""`python -m jleak` is `jleak`."""

from jleak.cli import main

main()
