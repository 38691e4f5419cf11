"""The device behind HTTP: two APIs that existing clients speak, one queue, deadlines that hold under load.

Knows: nothing by itself; ``serve`` puts the parts together. Does not know: models, tokens or thinking.
"""
