"""Entry of ``qpbridge`` and ``python -m qpbridge``."""

from qpbridge.cli.app import app


def main() -> None:
    """Run the command line and leave with its exit code."""
    app(prog_name="qpbridge")


if __name__ == "__main__":
    main()
