"""The exceptions of the project, drawn once.

Knows: every error a user can cause or meet. Does not know: how an error is shown (only the command line and the server
catch).

    EdgeError                      anything below; str() is one sentence: what happened, the value seen, what to do
    ├── UsageError                 an option or a request that cannot be honoured (exit code 2)
    │   └── PromptError            an empty, unreadable or too long prompt
    ├── ModelError                 a model that cannot be used
    │   ├── UnknownFamilyError     a model family or dialect this project has no row for
    │   ├── CheckpointError        a folder of safetensors that is damaged, incomplete or misshapen
    │   ├── HubError               a model that cannot be fetched from a hub
    │   └── BundleError            a bundle or GGUF file that is missing, damaged, truncated or foreign
    └── BackendError               a runtime that is missing, broken or out of resources
        └── ContextFullError       the sequence has no room for another token
"""


class EdgeError(Exception):
    """Base of all errors; ``str(error)`` is one sentence for a person."""


class UsageError(EdgeError):
    """An option or a request that cannot be honoured."""


class PromptError(UsageError):
    """A prompt that is empty, unreadable or longer than the context."""


class ModelError(EdgeError):
    """A model that cannot be used."""


class UnknownFamilyError(ModelError):
    """A model family or dialect this project has no row for."""


class CheckpointError(ModelError):
    """A checkpoint that is damaged, incomplete or misshapen."""


class HubError(ModelError):
    """A model that cannot be fetched from a hub."""


class BundleError(ModelError):
    """A bundle or GGUF file that is missing, damaged, truncated or foreign."""


class BackendError(EdgeError):
    """A runtime that is missing, broken or out of resources."""


class ContextFullError(BackendError):
    """The sequence has no room for another token."""
