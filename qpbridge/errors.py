"""Every cause of failure that qpbridge tells apart.

::

    QpbridgeError
    ├── InvalidRequestError          the request cannot be carried out as it stands
    │   ├── UnknownNameError         a family, variant, class, entry, preset or key that does not exist
    │   ├── InvalidValueError        a value that the named key does not take
    │   ├── UnsupportedImageError    a kind of image that is refused by name
    │   ├── TooFewClassesError       fewer than two classes to tell apart
    │   └── TooLargeError            more in one request than a server takes
    ├── NotFoundError
    │   ├── ProjectNotFoundError
    │   ├── SlideNotFoundError
    │   ├── BundleNotFoundError
    │   ├── PredictionNotFoundError  no results of an entry in the folder given
    │   └── JobNotFoundError
    ├── PreconditionError            right in form, but something must be done first
    │   ├── PixelSizeMissingError
    │   ├── SlideMismatchError       the slide found is not the one the project describes
    │   ├── NoAnnotationError        a requested class has no annotation
    │   ├── ProjectExistsError       a project lies already where one was to be made
    │   ├── DataExistsError          an image has objects already, which only QuPath changes
    │   ├── NothingToTrainError      no patch holds enough labelled pixels
    │   ├── QupathMissingError       no QuPath that works, where one is needed
    │   ├── QupathFailedError        QuPath's process died
    │   ├── NothingToUndoError       nothing of a run is left that could be taken back
    │   ├── ResultsBusyError         another run works on the same folder of results
    │   ├── LaterRunError            a later run built upon the one that is to be undone
    │   ├── PackageMissingError      an optional package must be installed first
    │   ├── WeightsMissingError      published weights to start from cannot be had
    │   ├── ServerRunningError       another server has the state folder
    │   ├── ServerStoppingError      the server takes no work and tells no news any more
    │   ├── JobElsewhereError        the job runs in a process of its own
    │   └── JournalVersionError      the journal was written by a newer version
    ├── ExhaustedError
    │   ├── DiskFullError
    │   ├── DeviceMemoryError        not even one tile fits the device
    │   ├── QueueFullError           too many jobs wait already
    │   └── TooManyStreamsError      too many streams are open already
    ├── UnreadableError              exists, but is damaged
    │   ├── DamagedProjectError
    │   ├── DamagedDataError         a data.qpdata
    │   ├── DamagedSlideError
    │   ├── DamagedGeoJsonError
    │   ├── DamagedRecordError       what is noted of earlier runs
    │   ├── DamagedBundleError
    │   ├── DamagedJournalError      the journal of jobs
    │   └── DamagedDiscoveryError    the file by which clients find a server
    ├── UnavailableError             no server can be asked
    │   ├── ServerNotRunningError    there is none, or it is gone
    │   ├── ServerUnreachableError   nothing answers at its address
    │   ├── ServerVersionError       it does not know what it is asked
    │   └── DiscoveryUnsafeError     others could read or write what tells where it is
    ├── DeniedError                  a server that may not be asked
    │   ├── TokenRefusedError        without the right token
    │   ├── OriginRefusedError       by a web page, or by a name that is not its own
    │   └── PathRefusedError         about files outside its folders
    ├── ServerFaultError             something broke on the server; the reason is the server's
    └── CancelledError               somebody asked to stop
"""

from __future__ import annotations

import re


class QpbridgeError(Exception):
    """Base of all errors; the message says what happened, where, and what to do."""

    @property
    def reason(self) -> str:
        """Stable name of the cause in UPPER_SNAKE, e.g. ``SLIDE_NOT_FOUND``."""
        name = type(self).__name__.removesuffix("Error")
        return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).upper()


class InvalidRequestError(QpbridgeError):
    """The request cannot be carried out as it stands."""


class UnknownNameError(InvalidRequestError):
    """A name that does not exist; the message lists those that do."""

    def __init__(self, kind: str, name: str, known: list[str], where: str = "") -> None:
        place = f" in {where}" if where else ""
        listed = ", ".join(known) if known else "none"
        super().__init__(f"unknown {kind} '{name}'{place}; there are: {listed}")


class InvalidValueError(InvalidRequestError):
    """A value that the named key does not take."""


class UnsupportedImageError(InvalidRequestError):
    """An image of a kind that is refused by name."""


class TooFewClassesError(InvalidRequestError):
    """Fewer than two classes to tell apart."""


class TooLargeError(InvalidRequestError):
    """More in one request than a server takes; the message says how much would fit."""


class NotFoundError(QpbridgeError):
    """Something named does not exist."""


class ProjectNotFoundError(NotFoundError):
    """No QuPath project at the given path."""


class SlideNotFoundError(NotFoundError):
    """The slide of an entry is in none of the places looked at."""


class BundleNotFoundError(NotFoundError):
    """No model bundle at the given path."""


class PredictionNotFoundError(NotFoundError):
    """No results of an entry in the folder given."""


class JobNotFoundError(NotFoundError):
    """No job of the given id."""


class PreconditionError(QpbridgeError):
    """Right in form, but something must be done first."""


class PixelSizeMissingError(PreconditionError):
    """Nothing says how large a pixel is."""


class SlideMismatchError(PreconditionError):
    """The slide found differs from the one that the project describes."""


class NoAnnotationError(PreconditionError):
    """A requested class has no annotation."""


class ProjectExistsError(PreconditionError):
    """A project lies already where one was to be made."""


class DataExistsError(PreconditionError):
    """An image has a ``data.qpdata`` already, which only QuPath changes."""


class NothingToTrainError(PreconditionError):
    """No patch holds enough labelled pixels."""


class QupathMissingError(PreconditionError):
    """A real QuPath is needed, and there is none that works."""


class QupathFailedError(PreconditionError):
    """The process of QuPath died over what it was asked."""


class NothingToUndoError(PreconditionError):
    """Nothing of a run is left that could be taken back."""


class ResultsBusyError(PreconditionError):
    """Another run works on the same folder of results."""


class LaterRunError(PreconditionError):
    """A later run built upon the one that is to be undone; that must be undone first."""


class PackageMissingError(PreconditionError):
    """An optional package that must be installed first."""


class WeightsMissingError(PreconditionError):
    """Published weights to start from that cannot be fetched, and are not on this machine."""


class ServerRunningError(PreconditionError):
    """Another server works on the same state folder."""


class ServerStoppingError(PreconditionError):
    """The server stops: it takes no work and tells no news any more."""


class JobElsewhereError(PreconditionError):
    """The job runs in a process that is not the server's."""


class JournalVersionError(PreconditionError):
    """A journal that a newer version of qpbridge wrote."""


class ExhaustedError(QpbridgeError):
    """A resource has run out."""


class DiskFullError(ExhaustedError):
    """No space left where a file was to be written."""


class DeviceMemoryError(ExhaustedError):
    """Not even one tile fits the memory of the device."""


class QueueFullError(ExhaustedError):
    """As many jobs wait as may."""


class TooManyStreamsError(ExhaustedError):
    """As many streams are open as may."""


class UnreadableError(QpbridgeError):
    """Exists, but is damaged."""


class DamagedProjectError(UnreadableError):
    """A project file that is no QuPath project."""


class DamagedDataError(UnreadableError):
    """A ``data.qpdata`` that is no image data of QuPath."""


class DamagedSlideError(UnreadableError):
    """A slide that cannot be opened or decoded."""


class DamagedGeoJsonError(UnreadableError):
    """A GeoJSON file that cannot be read."""


class DamagedRecordError(UnreadableError):
    """What is noted of earlier runs beside their results is damaged."""


class DamagedBundleError(UnreadableError):
    """A bundle whose parts do not fit together."""


class DamagedJournalError(UnreadableError):
    """A journal of jobs that SQLite cannot read."""


class DamagedDiscoveryError(UnreadableError):
    """A discovery file that no server wrote like that."""


class UnavailableError(QpbridgeError):
    """No server can be asked."""


class ServerNotRunningError(UnavailableError):
    """There is no server, or the one that there was is gone."""


class ServerUnreachableError(UnavailableError):
    """Nothing answers at the address of a server."""


class ServerVersionError(UnavailableError):
    """A server that does not know what it is asked."""


class DiscoveryUnsafeError(UnavailableError):
    """A discovery file that somebody else could have read or written."""


class DeniedError(QpbridgeError):
    """A server refuses to be asked."""


class TokenRefusedError(DeniedError):
    """No token, or not the server's."""


class OriginRefusedError(DeniedError):
    """A call from a web page, or to a name that is not the server's."""


class PathRefusedError(DeniedError):
    """A place outside the folders that a server may touch, or no place on its machine at all."""


class ServerFaultError(QpbridgeError):
    """Something broke on the server that is no cause of its own here.

    Parameters
    ----------
    message : str
        As the server told it.
    reason : str
        Of the server, e.g. ``WORKER_DIED``.
    """

    def __init__(self, message: str, reason: str = "SERVER_FAULT") -> None:
        super().__init__(message)
        self._reason = reason

    @property
    def reason(self) -> str:
        """Stable name of the cause on the server."""
        return self._reason


class CancelledError(QpbridgeError):
    """Somebody asked to stop."""
