"""An encrypted copy of a backup, for leaving the machine: it holds production data.

The folder goes as a tar stream through age (pyrage; the format of the programs `age` and `rage`, which open it too), so
that memory stays bounded however large it is. What is packed is held against the manifest on the way, and what is
unpacked is looked at whole before it appears. Keys and passphrases come from the caller and are written nowhere.
"""

import io
import os
import tarfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import IO, Any, cast

from toolkit.errors import BackupError, UsageError
from toolkit.rollback.backup.aside import keep_private, written_aside
from toolkit.rollback.backup.emergency import Backup, read_backup
from toolkit.rollback.backup.manifest import MANIFEST_FILE, VERIFIED_FILE, Manifest, read_manifest
from toolkit.rollback.backup.measuring import PIECE

KEY_SUFFIX = ".key"
_BLOCK = tarfile.RECORDSIZE
_NO_LIBRARY = "Encryption needs the library pyrage, which is not installed"


@dataclass(frozen=True)
class Lock:
    """For whom a copy is encrypted: public keys (`age1…`, `ssh-ed25519 …`, `ssh-rsa …`) or a passphrase."""

    recipients: tuple[str, ...] = ()
    passphrase: str = ""


@dataclass(frozen=True)
class Key:
    """What opens a copy: secret keys (`AGE-SECRET-KEY-1…`, as in a key file of age's), or the passphrase."""

    identities: tuple[str, ...] = ()
    passphrase: str = ""


def encrypt_backup(folder: Path, file: Path, lock: Lock) -> list[Path]:
    """Write an encrypted copy of a whole backup; the files that it consists of.

    Every file is held against the manifest as it is read. With a passphrase the data is encrypted for a fresh key, and
    that key with the passphrase in a second file beside it: age encrypts a stream for keys only. Both are readable by
    the owner alone. BackupError when the folder is no whole backup, UsageError for a key that is none or a file that
    exists; nothing is left then.
    """
    age = _age()
    manifest, _ = read_manifest(folder)
    key_file = file.with_name(file.name + KEY_SUFFIX)
    for each in (file, *([key_file] if lock.passphrase else [])):
        if each.exists():
            raise UsageError(f"{each} exists already", state="nothing was written", next="name another file")
    if bool(lock.recipients) == bool(lock.passphrase):
        raise UsageError("A copy is encrypted either for public keys or with a passphrase", state="nothing was written")
    made = []
    recipients = [_recipient(age, text) for text in lock.recipients]
    if lock.passphrase:
        identity = age.x25519.Identity.generate()
        recipients = [identity.to_public()]
        with _private(key_file) as out:
            out.write(age.passphrase.encrypt(f"{identity}\n".encode(), lock.passphrase))
        made.append(key_file)
    try:
        with _private(file) as out:
            _encrypt(age, folder, manifest, out, recipients)
    except BaseException:
        key_file.unlink(missing_ok=not lock.passphrase)
        raise
    return [file, *made]


def decrypt_backup(file: Path, folder: Path, key: Key) -> Backup:
    """Unpack an encrypted copy into `folder`, which must not exist, look at it whole, and give it.

    BackupError when the key does not open it, when it is truncated or altered, and when what is in it is no whole
    backup; UsageError for a key that is none. `folder` does not exist then.
    """
    age = _age()
    if folder.exists():
        raise UsageError(f"{folder} exists already", state="nothing was written", next="name another folder")
    identities = _identities(age, file, key)
    with written_aside(folder) as aside:
        try:
            with file.open("rb") as encrypted:
                _unpack(age, encrypted, identities, aside)
        except (age.DecryptError, tarfile.TarError, OSError) as error:
            raise BackupError(
                f"{file.name} cannot be opened: {_why(error)}", state="nothing was written", next=_OPEN_HINT
            ) from None
        keep_private(aside)
        backup = read_backup(aside)
    return Backup(folder, backup.manifest, backup.manifest_sha256)


_OPEN_HINT = "name the key that it was made for; a copy that was cut short must be fetched again"


class TarOfBackup(io.RawIOBase):
    """A backup as a tar stream, made as it is read. BackupError when a file is not what the manifest says."""

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self._pieces = _pieces(folder, manifest)
        self._rest = memoryview(b"")
        self.failure: BaseException | None = None

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        """Up to `size` bytes; b'' at the end. Never more than one piece at a time."""
        try:
            while not self._rest:
                self._rest = memoryview(next(self._pieces))
        except StopIteration:
            return b""
        except BaseException as error:
            self.failure = error  # the library in between would only say that reading failed
            raise
        wanted = len(self._rest) if size < 0 else size
        piece, self._rest = bytes(self._rest[:wanted]), self._rest[wanted:]
        return piece


def _encrypt(age: Any, folder: Path, manifest: Manifest, out: IO[bytes], recipients: Sequence[Any]) -> None:
    tar = TarOfBackup(folder, manifest)
    try:
        age.encrypt_io(tar, out, list(recipients))
    except BaseException:
        if tar.failure is not None:
            raise tar.failure from None
        raise
    if tar.failure is not None:
        raise tar.failure


def _pieces(folder: Path, manifest: Manifest) -> Iterator[bytes]:
    """The manifest first, so that whoever unpacks knows what is to come."""
    written = 0
    beside = [name for name in (MANIFEST_FILE, VERIFIED_FILE) if (folder / name).exists()]
    for name in (*beside, *sorted(manifest.files)):
        record = manifest.files.get(name)
        for piece in _member(folder, name, record.sha256 if record else None):
            written += len(piece)
            yield piece
    yield b"\0" * (2 * tarfile.BLOCKSIZE + -(written + 2 * tarfile.BLOCKSIZE) % _BLOCK)


def _member(folder: Path, name: str, digest: str | None) -> Iterator[bytes]:
    try:
        with (folder / name).open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            info = tarfile.TarInfo(name)
            info.size, info.mode = size, 0o600
            yield info.tobuf(tarfile.PAX_FORMAT)
            seen, read = sha256(), 0
            while read < size and (piece := file.read(min(PIECE, size - read))):
                seen.update(piece)
                read += len(piece)
                yield piece
    except OSError as error:
        raise BackupError(f"{folder} is no whole backup: {name}: {error.strerror}") from None
    if read < size or (digest is not None and seen.hexdigest() != digest):
        raise BackupError(
            f"{folder} is no whole backup: {name} is not as it was written",
            state="no copy was made",
            next="toolkit backup list shows the others",
        )
    yield b"\0" * (-size % tarfile.BLOCKSIZE)


def _unpack(age: Any, encrypted: IO[bytes], identities: Sequence[Any], folder: Path) -> None:
    """The library writes on one side of a pipe, from a thread, and tar reads on the other."""
    reading, writing = os.pipe()
    failure: list[BaseException] = []

    def decrypt() -> None:
        try:
            with os.fdopen(writing, "wb") as out:
                age.decrypt_io(encrypted, out, list(identities))
        except BaseException as error:
            failure.append(error)

    thread = threading.Thread(target=decrypt, daemon=True)
    thread.start()
    torn: Exception | None = None
    try:
        with os.fdopen(reading, "rb") as stream:
            try:
                with tarfile.open(fileobj=stream, mode="r|") as tar:
                    tar.extractall(folder, filter="data")
                while stream.read(PIECE):  # what follows the end of the archive is authenticated too
                    pass
            except tarfile.TarError as error:
                torn = error
    finally:
        thread.join()
    told = next((each for each in failure if not isinstance(each, BrokenPipeError)), None) or torn
    if told is not None:
        raise told


@contextmanager
def _private(file: Path) -> Iterator[IO[bytes]]:
    """A new file, readable by the owner alone, that appears whole or not at all."""
    file.parent.mkdir(parents=True, exist_ok=True)
    aside = file.with_name(f".{file.name}.part-{os.getpid()}")
    try:
        with os.fdopen(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as out:
            yield out
            out.flush()
            os.fsync(out.fileno())
        aside.rename(file)
    finally:
        aside.unlink(missing_ok=True)


def _age() -> Any:
    try:
        import pyrage
    except ImportError:
        raise UsageError(_NO_LIBRARY, state="nothing was done", next='pip install "rollback-drills[encrypt]"') from None
    return cast(Any, pyrage)


def _recipient(age: Any, text: str) -> Any:
    kind = age.ssh if text.startswith("ssh-") else age.x25519
    try:
        return kind.Recipient.from_str(text.strip())
    except (age.RecipientError, ValueError):
        raise UsageError(
            f"{text[:12]}… is no public key", state="nothing was written", next="give one that begins with age1 or ssh-"
        ) from None


def _identities(age: Any, file: Path, key: Key) -> list[Any]:
    lines = [line for text in key.identities for line in text.splitlines()]
    if key.passphrase:
        key_file = file.with_name(file.name + KEY_SUFFIX)
        try:
            lines += age.passphrase.decrypt(key_file.read_bytes(), key.passphrase).decode().splitlines()
        except OSError as error:
            raise BackupError(f"{key_file} is needed with the passphrase: {error.strerror}") from None
        except (age.DecryptError, UnicodeDecodeError):
            raise BackupError(f"The passphrase does not open {key_file.name}", state="nothing was written") from None
    try:
        found = [age.x25519.Identity.from_str(line.strip()) for line in lines if line.strip() and line[0] != "#"]
    except (age.IdentityError, ValueError):
        raise UsageError("That is no secret key of age's", next="give one that begins with AGE-SECRET-KEY-1") from None
    if not found:
        raise UsageError("No key was given", next="name a key file, or the variable that holds the passphrase")
    return found


def _why(error: Exception) -> str:
    """In words that hold nothing of the content."""
    if isinstance(error, tarfile.TarError):
        return "what is in it is no archive, or only a part of one"
    return str(error).splitlines()[0] if str(error) else type(error).__name__
