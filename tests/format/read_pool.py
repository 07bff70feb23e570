"""Reads a pool from docs/FORMAT.md alone: `python3 read_pool.py /dev/shm/cortex.NAME`.

Prints one JSON object and exits 0, or prints one line on stderr and exits 1. It verifies
every checksum, that the free list is what the records own, and that every sealed entry is
found by its key. It shares no code with cortex, on purpose.
"""
import hashlib
import json
import mmap
import struct
import sys
import zlib

FREE, RESERVED, SEALED, DOOMED = range(4)
SPILLED, VALUE_CRC = 1, 2
M32 = 0xFFFFFFFF


class Bad(Exception):
    pass


class Changed(Exception):
    """The pool changed while it was read."""


def need(condition, problem):
    if not condition:
        raise Bad(problem)


def align(value, to):
    return -(-value // to) * to


# ---- section 12: hashes

def rotl(x, n):
    return (x << n | x >> (32 - n)) & M32


def mix(h):
    h = (h ^ h >> 16) * 0x85EBCA6B & M32
    h = (h ^ h >> 13) * 0xC2B2AE35 & M32
    return h ^ h >> 16


def murmur3(data, seed):
    c = (0x239B961B, 0xAB0E9789, 0x38B34AE5, 0xA1E38B93)
    add = (0x561CCD1B, 0x0BCAA747, 0x96CD1C35, 0x32AC3B17)
    h = [seed] * 4

    def scramble(k, i):
        return rotl(k * c[i] & M32, 15 + i) * c[(i + 1) % 4] & M32

    def sum_up():
        h[0] = sum(h) & M32
        for i in (1, 2, 3):
            h[i] = (h[i] + h[0]) & M32

    whole = len(data) // 16 * 16
    for at in range(0, whole, 16):
        for i, k in enumerate(struct.unpack_from("<4I", data, at)):
            h[i] = rotl(h[i] ^ scramble(k, i), (19, 17, 15, 13)[i]) + h[(i + 1) % 4]
            h[i] = (h[i] * 5 + add[i]) & M32
    for i, k in enumerate(struct.unpack("<4I", data[whole:].ljust(16, b"\0"))):
        h[i] ^= scramble(k, i)
    h = [word ^ len(data) for word in h]
    sum_up()
    h = [mix(word) for word in h]
    sum_up()
    return struct.pack("<4I", *h)


# ---- sections 4 to 8: header and bitmaps

IDENTITY = struct.Struct("<8sII16sQQ10Id8QII256s")
IDENTITY_NAMES = (
    "magic version crc uuid size_bytes data_offset block_bytes blocks free_list_pages "
    "system_blocks max_entries buckets slots policy tier low_percent created_at commit_offset "
    "slots_offset pins_offset buckets_offset links_offset records_offset policy_offset "
    "ring_offset ring_slots namespace_bytes namespace").split()
TOTALS = struct.Struct("<12I9d")
TOTALS_NAMES = (
    "state dirty lock_holder free_record doomed_record entries reserved doomed used_blocks "
    "committed_blocks slot_limit padding modified_at last_persist_at next_sequence hits misses "
    "puts evictions deletes recoveries").split()


def geometry(size, block, entries, ring_offset):
    need(4096 <= block <= 2**30 and block & (block - 1) == 0, "block size")
    need(entries >= 1, "max_entries")
    pages = 1
    while True:
        blocks = max(0, (size - 4096 * (1 + pages)) // block)
        needed = max(1, -(-blocks // 32768))
        if needed <= pages:
            break
        pages = needed
    g = {"slots": 128, "blocks": blocks, "free_list_pages": pages}
    g["data_offset"] = g["commit_offset"] = 4096 * (1 + pages)
    g["buckets"] = 1 << (entries - 1).bit_length()
    row = align(-(-entries // 8), 64)
    g["slots_offset"] = align(g["commit_offset"] + 4096 * pages, 64)
    g["pins_offset"] = align(g["slots_offset"] + 64 * 128, 64)
    g["buckets_offset"] = align(g["pins_offset"] + 128 * row, 64)
    g["links_offset"] = align(g["buckets_offset"] + 4 * g["buckets"], 64)
    g["records_offset"] = align(g["links_offset"] + 4 * entries, 64)
    g["policy_offset"] = align(g["records_offset"] + 512 * entries, 64)
    need(ring_offset % 64 == 0 and g["policy_offset"] <= ring_offset < size, "ring")
    slots = min(65536, max(64, int(size * 0.0005 / 40)))
    g["ring_slots"] = 1 << (slots.bit_length() - 1)
    end = align(ring_offset + 40 * g["ring_slots"], 64)
    g["system_blocks"] = -(-(end - g["data_offset"]) // block)
    need(g["data_offset"] + g["system_blocks"] * block <= 2**31, "control region")
    need(g["system_blocks"] < blocks, "too small")
    return g


def whole(value):
    return int(value) if 0 <= value < 2**53 and value == int(value) else 0


class Reader:
    def __init__(self, shm):
        self.shm = shm
        need(len(shm) >= 4096 and shm[:8] == b"CORTEXKV", "not a cortex pool")
        self.id = h = dict(zip(IDENTITY_NAMES, IDENTITY.unpack_from(shm, 0)))
        need(h["version"] == 3, f"format version {h['version']}, this reader speaks version 3")
        need(zlib.crc32(shm[16:512]) == h["crc"], "header checksum")
        need(h["size_bytes"] == len(shm), "size")
        planned = geometry(h["size_bytes"], h["block_bytes"], h["max_entries"], h["ring_offset"])
        for name, value in planned.items():
            need(h[name] == value, f"geometry: {name} is {h[name]}, not {value}")
        need(h["low_percent"] <= 100 and h["namespace_bytes"] <= 256, "header")
        namespace = h["namespace"][:h["namespace_bytes"]]
        self.namespace = namespace.decode()
        self.namespace_hash = murmur3(namespace, 0)[:8] if namespace else bytes(8)
        self.seed = struct.unpack_from("<I", self.namespace_hash)[0]
        self.before = self.totals()
        pages = 4096 * h["free_list_pages"]
        self.used = int.from_bytes(shm[4096:4096 + pages], "little")
        commit = h["commit_offset"]
        self.committed = int.from_bytes(shm[commit:commit + pages], "little")

    def u32(self, offset):
        return struct.unpack_from("<I", self.shm, offset)[0]

    def totals(self):
        return dict(zip(TOTALS_NAMES, TOTALS.unpack_from(self.shm, 512)))

    def tick(self):
        low, halves = struct.unpack_from("<2I", self.shm, 1024)
        return (halves + (halves % 2 != low >> 31)) // 2 * 2**32 + low

    def looked_up(self):
        """Hits and misses: of handles that have gone, and of those in the slot table."""
        totals = self.totals()
        hits, misses = whole(totals["hits"]), whole(totals["misses"])
        for slot in range(min(totals["slot_limit"], 128)):
            at = self.id["slots_offset"] + 64 * slot
            if self.u32(at) == 1:
                live = struct.unpack_from("<2d", self.shm, at + 24)
                hits, misses = hits + whole(live[0]), misses + whole(live[1])
        return hits, misses

    # ---- sections 10 and 11: records, value and text

    def extents(self, n, record):
        """The extents of a record as (first, count), once all of it is checked."""
        key, parent, meta = struct.unpack_from("<3I", record, 140)
        need(1 <= key <= 1024 and parent <= 1024 and meta <= 4096, f"record {n}: text")
        text, (size,) = key + parent + meta, struct.unpack_from("<Q", record, 104)
        spilled = text > 296
        flags, count = struct.unpack_from("<I", record, 60)[0], record[136]
        need(bool(flags & SPILLED) == spilled, f"record {n}: flags")
        need(struct.unpack_from("<I", record, 136)[0] <= 8, f"record {n}: extents")
        found = list(struct.iter_unpack("<2I", record[152:152 + 8 * count]))
        for first, blocks in found:
            need(first >= self.id["system_blocks"] and blocks >= 1
                 and first + blocks <= self.id["blocks"], f"record {n}: extent")
        stored = align(size, 8) + text if spilled else size
        need(sum(blocks for _, blocks in found) == -(-stored // self.id["block_bytes"]),
             f"record {n}: number of blocks")
        return found

    def stored(self, extents, start, length):
        """Pieces of bytes [start, start + length) of what the extents hold, 1 MiB at most."""
        for first, count in extents:
            room = count * self.id["block_bytes"]
            at = self.id["data_offset"] + first * self.id["block_bytes"]
            while start < room and length > 0:
                size = min(length, room - start, 2**20)
                yield self.shm[at + start:at + start + size]
                start, length = start + size, length - size
            start = max(0, start - room)

    def record(self, n):
        """State, extents and, if sealed, the entry; as section 15 says."""
        at = self.id["records_offset"] + 512 * n
        generation, state = self.u32(at + 4), self.u32(at)
        need(state <= DOOMED, f"record {n}: state {state}")
        if state == FREE:
            return state, [], None
        record, entry, problem, extents = self.shm[at:at + 512], None, None, []
        try:
            extents = self.extents(n, record)
            need(zlib.crc32(record[52:]) == struct.unpack_from("<I", record, 48)[0],
                 f"record {n}: checksum")
            if state == SEALED:
                entry = self.entry(n, record, extents)
        except (Bad, ValueError) as error:
            problem = error
        if (self.u32(at), self.u32(at + 4)) != (state, generation):
            raise Changed
        if problem:
            raise problem
        return state, extents, entry

    def entry(self, n, record, extents):
        value_crc, text_crc, flags = struct.unpack_from("<3I", record, 52)
        size, created, sequence, tokens, priority = struct.unpack_from("<QddIi", record, 104)
        key_end, parent_bytes, meta_bytes = struct.unpack_from("<3I", record, 140)
        meta_at = key_end + parent_bytes
        for first, count in extents:
            need(self.committed >> first & (1 << count) - 1 == (1 << count) - 1,
                 f"record {n}: blocks without memory")
        crc, sha = 0, hashlib.sha256()
        for piece in self.stored(extents, 0, size):
            crc = zlib.crc32(piece, crc)
            sha.update(piece)
        need(not flags & VALUE_CRC or crc == value_crc, f"record {n}: value checksum")
        text = record[216:216 + meta_at + meta_bytes]
        if flags & SPILLED:
            text = b"".join(self.stored(extents, align(size, 8), meta_at + meta_bytes))
            need(zlib.crc32(text) == text_crc, f"record {n}: text checksum")
        key, parent, meta = text[:key_end], text[key_end:meta_at], text[meta_at:]
        need(record[64:80] == murmur3(key, self.seed), f"record {n}: key hash")
        need(record[80:96] == (murmur3(parent, self.seed) if parent else bytes(16)),
             f"record {n}: parent hash")
        need(record[96:104] == self.namespace_hash, f"record {n}: namespace hash")
        need(n in self.chain(murmur3(key, self.seed)), f"record {n}: not found by its key")
        return {
            "key": key.decode(), "parent": parent.decode() if parent else None,
            "tokens": tokens, "priority": priority, "size_bytes": size,
            "created_at_ms": whole(created),
            "last_access_at_ms": whole(struct.unpack_from("<d", record, 8)[0]),
            "access_tick": whole(struct.unpack_from("<d", record, 16)[0]),
            "access_count": struct.unpack_from("<I", record, 24)[0],
            "expires_at_ms": whole(struct.unpack_from("<d", record, 40)[0]),
            "sequence": whole(sequence), "extents": extents,
            "meta": json.loads(meta) if meta else None,
            "crc32": value_crc if flags & VALUE_CRC else None,
            "value_sha256": sha.hexdigest(),
        }

    # ---- section 13: key index

    def chain(self, hash):
        """Numbers of the records in the chain of a key's hash."""
        bucket = struct.unpack_from("<I", hash)[0] & (self.id["buckets"] - 1)
        link = self.u32(self.id["buckets_offset"] + 4 * bucket)
        for _ in range(self.id["max_entries"]):
            if not 1 <= link <= self.id["max_entries"]:
                return
            yield link - 1
            link = self.u32(self.id["links_offset"] + 4 * (link - 1))

    # ---- section 14: all of it

    def read(self):
        try:
            facts = self.read_all()
        except Bad:
            if self.totals() == self.before and not self.before["dirty"]:
                raise
        if self.totals() != self.before or self.before["dirty"]:
            raise Changed
        return facts

    def read_all(self):
        totals, counts, entries = self.before, [0] * 4, []
        need(totals["state"] == 1, "the pool is not live")
        owned = (1 << self.id["system_blocks"]) - 1
        for n in range(self.id["max_entries"]):
            state, extents, entry = self.record(n)
            counts[state] += 1
            for first, count in extents:
                run = (1 << count) - 1 << first
                need(not owned & run, f"record {n}: a block that another owns")
                owned |= run
            if entry:
                entries.append(entry)
        need(owned == self.used, "the free list is not what the records own")
        need(len({entry["key"] for entry in entries}) == len(entries), "two entries of one key")
        sums = {"reserved": counts[RESERVED], "entries": counts[SEALED],
                "doomed": counts[DOOMED],
                "used_blocks": bin(owned).count("1") - self.id["system_blocks"],
                "committed_blocks": bin(self.committed).count("1") - self.id["system_blocks"]}
        for name, value in sums.items():
            need(totals[name] == value, f"the header says {totals[name]} {name}, not {value}")
        facts = {name: self.id[name] for name in IDENTITY_NAMES
                 if name not in ("magic", "crc", "uuid", "namespace", "created_at")}
        facts |= {name: totals[name] for name in ("state", "slot_limit", *sums)}
        facts |= {name: whole(totals[name]) for name in
                  ("next_sequence", "puts", "evictions", "deletes", "recoveries")}
        facts |= {name + "_ms": whole(totals[name]) for name in ("modified_at", "last_persist_at")}
        facts["hits"], facts["misses"] = self.looked_up()
        facts |= {"uuid": self.id["uuid"].hex(), "namespace": self.namespace,
                  "created_at_ms": whole(self.id["created_at"]), "tick": self.tick()}
        facts["entry_count"], facts["entries"] = facts.pop("entries"), entries
        return facts


def main(path):
    with open(path, "rb") as file:
        for _ in range(20):
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as shm:
                try:
                    return Reader(shm).read()
                except Changed:
                    continue
    raise Bad("it changes all the time, or its last writer died half-way")


if __name__ == "__main__":
    try:
        print(json.dumps(main(sys.argv[1])))
    except (Bad, OSError, ValueError, IndexError, struct.error) as error:
        print(f"read_pool.py: {error}".replace("\n", " "), file=sys.stderr)
        sys.exit(1)
