"""Fine-tuning where somebody else's machines do it: at an OpenAI-compatible endpoint.

Here belong the training file, what is sent, and how a job is followed until its model is there.
What the model is asked afterwards belongs to ``language.endpoint``.
"""
