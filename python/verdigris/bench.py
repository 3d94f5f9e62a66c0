"""Benchmarks that compare with another program."""
def boot(images: str, turns: int) -> int:
    return 0
