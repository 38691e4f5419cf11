"""The embedded model `spark`: its tasks, tokenizer, network and training recipe.

Knows how the model is made. Nothing in the runtime imports this package; what it ships is the folder `checkpoint/`.
"""
