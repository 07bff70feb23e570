"""Lists and verifies a snapshot, from docs/FORMAT.md alone, section 19.

    python3 read_snapshot.py DIRECTORY

Prints one JSON object; exits with 1 if anything is damaged.
"""

import hashlib
import json
import os
import re
import struct
import sys
import zlib

MANIFEST = re.compile(r"MANIFEST(-[0-9]{8,})?$")
LINE = struct.Struct("<3Q5dIi4I")
FILE_HEAD = struct.Struct("<8sII16sd24s")
RECORD = struct.Struct("<16sIIQ4dIIiIII8sQII")
PIECE = struct.Struct("<4I")
PLAIN, ZSTD = 0, 1


def read_manifest(path):
    """The JSON, the lines of the index and the policy's state, or None if damaged."""
    with open(path, "rb") as file:
        line, _, rest = file.read().partition(b"\n")
    digest, _, tail = rest.partition(b"\n")
    try:
        manifest = json.loads(line)
    except ValueError:
        manifest = {}
    is_ours = manifest.get("format") == "cortex-snapshot"
    if not is_ours or manifest.get("version") != 2:
        if os.path.basename(path) == "MANIFEST" and not line.startswith(
            b'{"format":"cortex-snapshot"'
        ):
            sys.exit("not a snapshot of version 2")
        return None
    if hashlib.sha256(line + tail).hexdigest().encode() != digest:
        return None
    index_bytes = LINE.size * manifest["entries"]
    if len(tail) != index_bytes + manifest["policy_bytes"]:
        return None
    return manifest, list(LINE.iter_unpack(tail[:index_bytes])), tail[index_bytes:]


def is_complete(directory, manifest):
    for file in manifest["files"]:
        path = os.path.join(directory, file["name"])
        if not os.path.isfile(path) or os.path.getsize(path) != file["size_bytes"]:
            return False
    return True


def stored_value(data, record):
    """The value, None if it is damaged; compressed ones are only checked."""
    size, position, codec = record["size_bytes"], record["value_position"], record["codec"]
    if codec == PLAIN:
        value = data[position : position + size]
        whole = len(value) == size and zlib.crc32(value) == record["value_crc"]
        return value if whole else None
    left, frames = size, 0
    while left > 0:
        stored, raw, crc, _ = PIECE.unpack_from(data, position)
        frame = data[position + PIECE.size : position + PIECE.size + stored]
        if len(frame) != stored or zlib.crc32(frame) != crc or not 0 < raw <= left:
            return None
        position += PIECE.size + stored
        left -= raw
        frames += 1
    return b""


def read_record(data, nonce, line):
    """The record that a line leads to, or None if it is not whole."""
    position = line[0]
    if position + RECORD.size > len(data):
        return None
    fields = RECORD.unpack_from(data, position)
    names = (
        "nonce crc value_crc size_bytes created_at last_access_at access_tick sequence "
        "access_count tokens priority key_bytes parent_bytes meta_bytes namespace_hash "
        "value_position unused codec"
    ).split()
    record = dict(zip(names, fields))
    text_at = position + RECORD.size
    end = text_at + record["key_bytes"] + record["parent_bytes"] + record["meta_bytes"]
    if record["nonce"] != nonce or end > len(data):
        return None
    if zlib.crc32(data[position + 20 : end]) != record["crc"]:
        return None
    same = (record["value_position"], record["size_bytes"], record["sequence"]) == line[1:4]
    if not same or record["value_crc"] != line[8]:
        return None
    key_end = text_at + record["key_bytes"]
    parent_end = key_end + record["parent_bytes"]
    record["key"] = data[text_at:key_end].decode()
    record["parent"] = data[key_end:parent_end].decode() or None
    meta = data[parent_end:end].decode()
    record["meta"] = json.loads(meta) if meta else None
    return record


def main(directory):
    problems, found = [], []
    for name in sorted(filter(MANIFEST.match, os.listdir(directory))):
        read = read_manifest(os.path.join(directory, name))
        if read is None:
            problems.append(f"{name} is damaged")
        elif not is_complete(directory, read[0]):
            problems.append(f"{name}: its files are not whole")
        else:
            found.append(read)
    if not found:
        sys.exit("no generation is whole")
    manifest, index, _ = max(found, key=lambda one: one[0]["generation"])
    files = []
    for file in manifest["files"]:
        with open(os.path.join(directory, file["name"]), "rb") as opened:
            data = opened.read()
        nonce = bytes.fromhex(file["nonce"])
        magic, version, crc, head_nonce, _, _ = FILE_HEAD.unpack_from(data, 0)
        if (magic, version, head_nonce) != (b"CORTEXSN", 2, nonce):
            problems.append(f"the head of {file['name']} is damaged")
        if zlib.crc32(data[16:64]) != crc:
            problems.append(f"the head of {file['name']} is damaged")
        files.append((data, nonce))
    entries = []
    for line in index:
        data, nonce = files[line[11]]
        record = read_record(data, nonce, line)
        value = record and stored_value(data, record)
        if record is None or value is None:
            problems.append(f"the entry at {line[0]} is damaged")
            continue
        entries.append(
            {
                "key": record["key"],
                "parent": record["parent"],
                "meta": record["meta"],
                "tokens": record["tokens"],
                "priority": line[9],
                "size_bytes": line[2],
                "created_at": line[4],
                "expires_at": line[7] or None,
                "last_access_at": line[5],
                "access_count": line[10],
                "value_sha256": hashlib.sha256(value).hexdigest()
                if record["codec"] == PLAIN
                else None,
            }
        )
    print(
        json.dumps(
            {
                "generation": manifest["generation"],
                "namespace": manifest["pool"]["namespace"],
                "entries": entries,
                "problems": problems,
            }
        )
    )
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
