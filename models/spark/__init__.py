"""The embedded models `spark` and `spark-hunyuan`: their tasks, tokenizers, network and training recipe.

Knows how the models are made. Nothing in the runtime imports this package; what it ships are the folders `checkpoint/`
here and in `models/spark_hunyuan`.
"""
