"""How long an optimizer's step takes, on the parameter shapes of real models."""
