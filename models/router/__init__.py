"""The recipe of the router's weights: public prompts with a soft difficulty, and made ones for what they lack."""
