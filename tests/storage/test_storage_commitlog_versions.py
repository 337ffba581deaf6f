"""Segments of the version before: read, checked as strictly, and never written into."""

from __future__ import annotations

from base64 import b85decode
from pathlib import Path
from zlib import decompress

import pytest
from commitlog_support import DATABASE, copied, opened, options, payloads_of

from amaters.base.errors import DataError
from amaters.storage.commitlog import frames

NAME = f"{1:020d}.segment"
RECORDS = [bytes([n]) * (2500 * n + 1) for n in range(3)]
# RECORDS as version 2 wrote them, with a witness behind, without the zeros at the end.
WRITTEN = (
    "c-rmSPbkA-9LMozKc>cIYsH1yNpbP7tPoqwa#$8699BxnpCpQlm4ir#(`u0@<0v&Pr6_;rVmT3|C0Q$C*|L&MKa?"
    "FfscG-m<<nE&=klDM@Ar9(mPV7gSO`f7(H>{Y_+-^7JqAyyRKBacomL3hXTI8l7yV<$8TEm~iq*ReNdN!<004l5W"
    "VF;ay!Z3J_4;4bawtERL!;~VoS8`TN#Mb+De7{Be9KuI=OexDNP*hs*fA+MVgLXD000uc|Ci$D06ICmDmgnYofFp"
    "vwKwe9ddbauwB0=S%y|axxAkfH>CuCy+5K3Z0ssI2{|{GX07$C-KP7GsAPVJ}*2+1&H{Wu$pmerwnT`gVQq8V1f2"
    "G>&>~vLMRq6Y>eG{=d2><{90002M-(%bf0000a{rkW8;r%}~?jL}#e&4^Qt=kMomsS=HmSE|nx30b<dnU7{&7B@n"
    "O=`wZU2lgtt&R"
)


@pytest.fixture
def written() -> bytes:
    return decompress(b85decode(WRITTEN)).ljust(1 << 20, b"\0")


def version(path: Path) -> int:
    return frames.decode_segment(path.read_bytes(), path.name, DATABASE).version


def test_version_2_is_read_and_continued(tmp_path: Path, written: bytes) -> None:
    """Its records come first; new ones go to a segment of this version."""
    path = copied(tmp_path / "a", NAME, written)
    log, found = opened(path, options("direct"))
    assert [record.payload for record in found] == RECORDS
    assert log.append(b"new") == 4
    log.close()
    assert payloads_of(path, options("buffered")) == [*RECORDS, b"new"]
    assert [version(found) for found in sorted(path.glob("*.segment"))] == [2, frames.VERSION]
    assert (path / NAME).read_bytes() == written


def test_an_empty_segment_of_version_2_is_replaced(tmp_path: Path, written: bytes) -> None:
    """It is not written into, although nothing is in it: its header says which sums follow."""
    path = copied(tmp_path / "a", NAME, written[: frames.BLOCK].ljust(1 << 20, b"\0"))
    log, found = opened(path, options("direct"))
    assert found == [] and log.append(b"new") == 1
    log.close()
    assert payloads_of(path, options("direct")) == [b"new"]
    assert version(path / NAME) == frames.VERSION


def test_flips_in_version_2_are_damage(tmp_path: Path, written: bytes) -> None:
    """Under a witness every flip is reported, or changes nothing."""
    whole = len(decompress(b85decode(WRITTEN)))
    path = copied(tmp_path / "a", NAME, written)
    reported = 0
    for byte in range(0, whole, 97):
        damaged = bytearray(written)
        damaged[byte] ^= 1 << byte % 8
        (path / NAME).write_bytes(damaged)
        try:
            assert payloads_of(path, options("buffered")) == RECORDS
        except DataError as error:
            assert error.code == "AM-4001"
            reported += 1
    assert reported > sum(map(len, RECORDS)) // 97


def test_versions_nobody_wrote(tmp_path: Path, written: bytes) -> None:
    """A newer one asks for a newer program; one that never had segments is damage."""
    for number, code in ((frames.VERSION + 1, "AM-4006"), (1, "AM-4001")):
        header = frames.SegmentHeader(DATABASE, b"l" * 16, 1, 1, number)
        data = frames.encode_segment(header) + written[frames.BLOCK :]
        path = copied(tmp_path / str(number), NAME, data)
        with pytest.raises(DataError, match=code):
            opened(path, options("direct"))
