"""Every error that pointsman raises on purpose, as one tree.

::

    PointsmanError                                                          exit  HTTP
    ├── SettingsError         the operator wrote something not understood     2    -
    ├── InputError            the caller passed something that cannot be used 2   400
    │   ├── DataError           a data file, with file and line
    │   └── EmptyTextError      nothing to route
    ├── MissingExtraError     a room whose packages are not installed         2    -
    ├── ArtifactError                                                         3   503
    │   ├── ArtifactNotFoundError
    │   ├── ManifestError       unreadable, or of another schema version
    │   ├── IntegrityError      a file is not what the manifest says
    │   └── RegistryError       a version or alias that is not there, or is taken
    ├── RuntimeUnavailableError  a provider or thread setting not available   3   503
    ├── NonFiniteOutputError  the model answered NaN or infinity              3   503
    ├── CheckpointError       a checkpoint that cannot be read or trusted     4    -
    ├── ConversionError                                                       4    -
    │   ├── UnsupportedModelError  a configuration refused by name
    │   └── OutputExistsError      the target is taken
    ├── ParityError           the router is not the checkpoint                5    -
    ├── TrainingError         training cannot start, or cannot go on          6    -
    └── UpstreamError         an upstream failed                              7   502

A message says what is wrong, where, what was expected, what was found, and what to do next.
"""


class PointsmanError(Exception):
    """Root of the tree; `exit_code` is what the command line returns for it."""

    exit_code = 1


class SettingsError(PointsmanError):
    """A setting (argument, flag, environment, file) that is not understood."""

    exit_code = 2


class InputError(PointsmanError):
    """Input from the caller that cannot be used."""

    exit_code = 2


class DataError(InputError):
    """A data file that cannot be used; the message names the file and the line."""


class EmptyTextError(InputError):
    """A text without anything to route."""


class MissingExtraError(PointsmanError):
    """A command whose packages are not installed; the message ends with the line that installs them."""

    exit_code = 2


class ArtifactError(PointsmanError):
    """An artifact that cannot be used."""

    exit_code = 3


class ArtifactNotFoundError(ArtifactError):
    """No artifact at the path, or under the alias."""


class ManifestError(ArtifactError):
    """A manifest that is unreadable or of another schema version."""


class IntegrityError(ArtifactError):
    """A file that is not what its manifest says."""


class RegistryError(ArtifactError):
    """A registry operation on a version or alias that is not there, or is taken."""


class RuntimeUnavailableError(PointsmanError):
    """An execution provider or thread setting that this machine cannot give."""

    exit_code = 3


class NonFiniteOutputError(PointsmanError):
    """The model answered NaN or infinity; there is no decision to be made of that."""

    exit_code = 3


class CheckpointError(PointsmanError):
    """A checkpoint that cannot be read, or must not be trusted."""

    exit_code = 4


class ConversionError(PointsmanError):
    """A conversion that cannot be done, or not as asked."""

    exit_code = 4


class UnsupportedModelError(ConversionError):
    """A model configuration that is refused, by name."""


class OutputExistsError(ConversionError):
    """The place to write to is taken."""


class ParityError(PointsmanError):
    """The converted router does not answer as its checkpoint does; nothing was written."""

    exit_code = 5


class TrainingError(PointsmanError):
    """Training that cannot start, or cannot go on; the last good checkpoint stays."""

    exit_code = 6


class UpstreamError(PointsmanError):
    """An upstream that failed."""

    exit_code = 7
