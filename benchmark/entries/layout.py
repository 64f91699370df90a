"""Names that the competition fixes: rulesets, frameworks, files of an entry."""

RULESETS = ("external_tuning", "self_tuning")
# In submission_info.yml; the competition's CI puts `external` into external_tuning, all else into
# self_tuning, and its form offers these two words.
RULESET_FIELD = {"external_tuning": "external", "self_tuning": "self-tuning"}
FRAMEWORKS = ("jax", "pytorch")
FRAMEWORK_FIELD = {"jax": "JAX", "pytorch": "PyTorch"}

SUBMISSION = "submission.py"
SEARCH_SPACE = "tuning_search_space.json"
INFO = "submission_info.yml"
REQUIREMENTS = "requirements.txt"
README = "README.md"
LICENSE = "LICENSE"

# Fields of submission_info.yml, in the order of the competition's form. Its CI asks for the first
# three and the ruleset; its board shows them all.
FIELDS = (
    "submission_name",
    "submission_folder",
    "authors",
    "affiliations",
    "version",
    "ruleset",
    "framework",
    "description",
)

# Trials of one study of external tuning since v0.6, and so points of a list.
POINTS = 5
