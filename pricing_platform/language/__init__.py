"""Language models: what is asked of them, how a price is read from their answer, what it cost.

Here belong prompts, the models behind one protocol (one on this machine, one behind an endpoint),
and where pretrained models come from. How a technique combines them belongs to ``pricing``.
"""
