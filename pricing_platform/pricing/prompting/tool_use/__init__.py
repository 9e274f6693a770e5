"""Prompting with tools: the loop of calls, and the tools themselves."""
