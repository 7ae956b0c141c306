// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatFormats
import LifeboatIO

/// Tells for the chunks of a content on its way in which chunks of its parent (the content of the same name in the
/// previous snapshot) they grew from.
///
/// Contents move: rows that went shift all behind them. So places in the two contents are tied together by anchors: a
/// chunk that is in both, and, once a delta was made, equal bytes at its end. The place of a new chunk in the parent is
/// reckoned from the anchor before it; an error of a part of a chunk does no harm, since cut points, being found by
/// content, mostly agree. Thread-safe; asked by the workers, about in the order of the content.
final class Counterparts: Sendable {
    /// One or two neighbouring chunks of the parent, to be used as base.
    struct Candidate {
        var bases: [Digest]
        /// Where the first begins in the parent; nil when the bases are not chunks of the parent itself.
        var start: UInt64?
        var length: Int
        /// Where the bases are in the parent; what they are read by from a copy of it.
        fileprivate var places: [(start: UInt64, length: Int)]
        /// Stored and plain bytes of a frame of the base: what such data compresses to by itself.
        fileprivate var frame: (stored: UInt32, plain: UInt32)

        /// Bytes that a chunk of `length` bytes of this kind takes when it is stored whole, about.
        func storedSize(of length: Int) -> Int {
            Int(UInt64(length) * UInt64(frame.stored) / UInt64(max(1, frame.plain)))
        }
    }

    private struct Record {
        var id: Digest
        var start: UInt64
        var length: UInt32
        var end: UInt64 { start + UInt64(length) }
    }

    private struct Anchor {
        /// Offsets of the same place in the new content and in the parent.
        var new: UInt64
        var old: UInt64
    }

    private struct State {
        /// The chunks of the parent that are yet to come; nil at its end.
        var rest: ChunkSequence?
        /// A stretch of the parent's chunks, ascending.
        var records: [Record] = []
        var anchors = [Anchor(new: 0, old: 0)]
        /// Where the last base ended in the parent, and where what it was for begins in the new content.
        var lastBaseEnd: UInt64 = 0
        var lastBased: UInt64 = 0
        /// Chunks in a row for which there was no worthwhile delta.
        var failures = 0
        /// The parent was searched up to here since the last base.
        var searchedEnd: UInt64 = 0
        /// Chunks in a row that came back and were no base worth it for what they replace.
        var returns = 0
    }

    private let reader: ChunkReader
    private let maximumChunk: Int
    /// Where the parent's bytes come from on a host that cannot read packs; nil: from `reader`.
    private let copy: DeltaBaseFile?
    // The sequence in the state is only used with the lock held.
    private let state: Monitor<State>

    /// So much of the parent is looked at ahead of the place in question and behind it, in bytes; at most `recordLimit`
    /// chunks.
    private static let lookAhead: UInt64 = 1 << 30
    private static let lookBehind: UInt64 = 256 << 20
    private static let recordLimit = 8192
    private static let anchorLimit = 64
    /// After so many chunks without a delta only one of `retryInterval` is tried.
    private static let patience = 4
    private static let retryInterval = 8
    /// Chunks of the parent that are searched for one lost chunk, and for how many lost ones in a row the place behind
    /// the last base is looked for.
    private static let searchWidth = 16
    private static let searchPatience = 256

    /// Throws when the parent's list of chunks cannot be opened. `reader` must use indexes that are restricted to packs
    /// that are present. `copy`: a plain copy of the parent, on a host that cannot read packs.
    init(
        _ reader: ChunkReader, parent: ContentReference, maximumChunk: Int, copy: DeltaBaseFile? = nil
    ) throws {
        self.reader = reader
        self.copy = copy
        self.maximumChunk = maximumChunk
        var state = State()
        state.rest = try ChunkSequence(reader, parent)
        self.state = Monitor(state)
    }

    /// Bases to try for the chunk of `length` bytes at `start`, best first.
    func candidates(at start: UInt64, length: Int) -> [Candidate] {
        let picked = state.withLock { state -> [[Record]] in
            state.failures += 1
            let overdue = state.failures - Self.patience
            guard overdue <= 0 || overdue % Self.retryInterval == 0 else { return [] }
            let place = Self.place(of: start, length, state)
            load(&state, around: place)
            var picked = [pick(state, at: place, length: length)]
            // Something may have been put in between: the parent then goes on where the last base ended.
            if place > state.lastBaseEnd + UInt64(length) / 2 {
                picked.append(pick(state, at: state.lastBaseEnd, length: length))
            }
            return picked.filter { !$0.isEmpty }
        }
        return picked.flatMap(candidates)
    }

    /// Puts the bases of a candidate into `buffer`, joined; nil when one of them cannot be read: the chunk is stored
    /// whole then, which is right whatever became of the base. Returns their length.
    func read(_ candidate: Candidate, into buffer: UnsafeMutableRawBufferPointer) -> Int? {
        var end = 0
        if let copy {
            for (base, place) in zip(candidate.bases, candidate.places) {
                guard place.length <= buffer.count - end else { return nil }
                let target = UnsafeMutableRawBufferPointer(rebasing: buffer[end..<end + place.length])
                guard copy.read(base, at: place.start, into: target) else { return nil }
                end += place.length
            }
            return end
        }
        for base in candidate.bases {
            do {
                try reader.withChunk(base) { bytes in
                    guard bytes.count <= buffer.count - end else { throw LifeboatError.interrupted }
                    UnsafeMutableRawBufferPointer(rebasing: buffer[end...]).copyMemory(from: bytes)
                    end += bytes.count
                }
            } catch {
                return nil
            }
        }
        return end
    }

    /// The chunk of the parent that lies where the one at `start` does, when only the length of its chain of deltas kept
    /// it from being a base.
    func endOfChain(at start: UInt64, length: Int) -> Digest? {
        guard copy == nil else { return nil }
        let picked = state.withLock { state in
            pick(state, at: Self.place(of: start, length, state), length: length)
        }
        guard picked.count == 1, picked[0].length >= DeltaChunks.minimumChunk,
            let depth = try? reader.indexSet.deltaDepth(of: picked[0].id, limit: DeltaChunks.maximumDepth)
        else { return nil }
        return depth < DeltaChunks.maximumDepth ? nil : picked[0].id
    }

    /// Puts a stored chunk into `buffer`: its length, and about what it takes when it is stored whole; nil when it cannot
    /// be read.
    func read(
        _ chunk: Digest, into buffer: UnsafeMutableRawBufferPointer
    ) -> (length: Int, storedSize: Int)? {
        guard let frame = try? reader.indexSet.frame(below: chunk) else { return nil }
        let candidate = Candidate(bases: [chunk], start: nil, length: 0, places: [], frame: frame)
        return read(candidate, into: buffer).map { ($0, candidate.storedSize(of: $0)) }
    }

    /// As `endOfChain`, for a chunk that was in the repository before, whole, and comes back where the parent has one that
    /// rests on others.
    func replaced(by id: Digest, at start: UInt64, length: Int) -> Digest? {
        guard copy == nil else { return nil }
        let picked = state.withLock { state -> [Record] in
            guard state.returns < Self.patience, !state.records.contains(where: { $0.id == id }) else { return [] }
            return pick(state, at: Self.place(of: start, length, state), length: length)
        }
        guard picked.count == 1, picked[0].length >= DeltaChunks.minimumChunk, picked[0].id != id else { return nil }
        do {
            guard reader.indexSet.contains(id), try reader.indexSet.bases(of: id).isEmpty else { return nil }
            var open = try reader.indexSet.bases(of: picked[0].id)
            guard !open.isEmpty else { return nil }
            for _ in 0...IndexSet.depthLimit {
                guard !open.contains(id) else { return nil }
                open = try open.flatMap { try reader.indexSet.bases(of: $0) }
            }
        } catch {
            // An index with impossible records.
            return nil
        }
        state.withLock { $0.returns += 1 }
        return picked[0].id
    }

    /// A chunk that came back was worth a delta: the next may be too.
    func noteReturn() { state.withLock { $0.returns = 0 } }

    /// The chunk at `start` is in the repository already: where the parent has it too, the two are tied together.
    func noteKnown(_ id: Digest, at start: UInt64, length: Int) {
        state.withLock { state in
            let place = Self.place(of: start, length, state)
            load(&state, around: place)
            // A chunk may repeat: the nearest counts.
            var nearest: Record?
            for record in state.records where record.id == id {
                if let known = nearest, Self.distance(known.start, place) <= Self.distance(record.start, place) {
                    continue
                }
                nearest = record
            }
            guard let nearest else { return }
            state.failures = 0
            Self.note(baseEnd: nearest.end, of: start, &state)
            Self.add(Anchor(new: start + UInt64(length), old: nearest.end), to: &state)
        }
    }

    /// A delta of the chunk at `start` against the candidate's bytes was worth it: ties the two together where a piece
    /// of the chunk lies in the base, the later the better.
    func noteDelta(
        of data: UnsafeRawBufferPointer, at start: UInt64, _ candidate: Candidate, _ base: UnsafeRawBufferPointer
    ) {
        let anchor = candidate.start.flatMap { baseStart in
            CommonPiece.end(data, base).map {
                Anchor(new: start + UInt64($0.data), old: baseStart + UInt64($0.base))
            }
        }
        state.withLock { state in
            state.failures = 0
            guard let baseStart = candidate.start else { return }
            Self.note(baseEnd: baseStart + UInt64(base.count), of: start, &state)
            if let anchor { Self.add(anchor, to: &state) }
        }
    }

    /// Looks for the chunk's place where the reckoned one was wrong: the parent may go on inside it (something was put
    /// in before), or have it further ahead (something was taken out). True when it was found: `candidates` differ now.
    func search(for data: UnsafeRawBufferPointer, at start: UInt64) -> Bool {
        let (end, records) = state.withLock { state -> (UInt64, [Record]) in
            guard state.failures <= Self.searchPatience else { return (0, []) }
            let end = state.lastBaseEnd
            load(&state, around: end)
            let first = state.records.firstIndex { $0.end > end } ?? state.records.count
            var found = Array(state.records[first...].prefix(1))
            // The other workers' chunks come late to the anchors: a first failure may be just that.
            if state.failures <= 2 * Self.patience {
                let ahead = state.records[first...].dropFirst().drop { $0.start < state.searchedEnd }
                found += ahead.prefix(Self.searchWidth)
                state.searchedEnd = found.last?.end ?? state.searchedEnd
            }
            return (end, found)
        }
        for (number, record) in records.enumerated() {
            let anchor: Anchor?
            do {
                anchor = try withBytes(of: record) { bytes in
                    let skipped = number == 0 && end > record.start ? min(bytes.count, Int(end - record.start)) : 0
                    let rest = UnsafeRawBufferPointer(rebasing: bytes[skipped...])
                    if number == 0, let found = CommonPiece.beginning(of: rest, in: data) {
                        return Anchor(
                            new: start + UInt64(found.data), old: record.start + UInt64(skipped + found.base))
                    }
                    return CommonPiece.end(data, bytes).map {
                        Anchor(new: start + UInt64($0.data), old: record.start + UInt64($0.base))
                    }
                }
            } catch {
                // A chunk that cannot be read is no base either.
                continue
            }
            guard let anchor else { continue }
            state.withLock { state in
                state.failures = 0
                Self.add(anchor, to: &state)
            }
            return true
        }
        return false
    }

    /// Hands the bytes of a chunk of the parent to `body`.
    private func withBytes<Result>(
        of record: Record, _ body: (UnsafeRawBufferPointer) throws -> Result
    ) throws -> Result {
        guard let copy else { return try reader.withChunk(record.id, body) }
        let bytes = UnsafeMutableRawBufferPointer.allocate(byteCount: Int(record.length), alignment: 64)
        defer { bytes.deallocate() }
        guard copy.read(record.id, at: record.start, into: bytes) else { throw LifeboatError.interrupted }
        return try body(UnsafeRawBufferPointer(bytes))
    }

    /// Where the parent has what the new content has at `start`, as far as the anchors tell.
    private static func place(of start: UInt64, _ length: Int, _ state: State) -> UInt64 {
        let anchor = state.anchors.last { $0.new <= start + UInt64(length) / 2 } ?? state.anchors[0]
        return start >= anchor.new
            ? anchor.old + (start - anchor.new) : anchor.old - min(anchor.old, anchor.new - start)
    }

    /// The last base is that of the furthest chunk: a worker may come late with one far behind it.
    private static func note(baseEnd: UInt64, of start: UInt64, _ state: inout State) {
        guard start >= state.lastBased else { return }
        state.lastBased = start
        state.lastBaseEnd = baseEnd
        state.searchedEnd = baseEnd
    }

    private static func add(_ anchor: Anchor, to state: inout State) {
        let position = (state.anchors.lastIndex { $0.new <= anchor.new } ?? -1) + 1
        state.anchors.insert(anchor, at: position)
        if state.anchors.count > anchorLimit { state.anchors.removeFirst(anchorLimit / 2) }
    }

    private static func distance(_ a: UInt64, _ b: UInt64) -> UInt64 { a < b ? b - a : a - b }

    /// Reads on in the parent's list, and forgets what is far behind.
    private func load(_ state: inout State, around place: UInt64) {
        guard let rest = state.rest, (state.records.last?.end ?? 0) < place + Self.lookAhead / 2 else { return }
        let behind = state.records.prefix { $0.end + Self.lookBehind < place }.count
        state.records.removeFirst(behind)
        do {
            while state.records.count < Self.recordLimit, (state.records.last?.end ?? 0) < place + Self.lookAhead {
                guard let chunk = try rest.next() else {
                    state.rest = nil
                    return
                }
                state.records.append(Record(id: chunk.id, start: chunk.offset, length: chunk.length))
            }
        } catch {
            // The list is damaged from here on: there are no counterparts to what follows, and all is stored whole.
            state.rest = nil
        }
    }

    /// The chunks of the parent that cover most of `length` bytes at `place`: one if it covers nearly all, else two.
    private func pick(_ state: State, at place: UInt64, length: Int) -> [Record] {
        let end = place + UInt64(length)
        let records = state.records
        var low = 0
        var high = records.count
        while low < high {
            let middle = (low + high) / 2
            if records[middle].end <= place { low = middle + 1 } else { high = middle }
        }
        var best: (position: Int, overlap: UInt64)?
        var position = low
        while position < records.count, records[position].start < end {
            let overlap = min(records[position].end, end) - max(records[position].start, place)
            if overlap > best?.overlap ?? 0 { best = (position, overlap) }
            position += 1
        }
        guard let best else {
            // Behind the end of the parent, by a wrong reckoning perhaps.
            return state.rest == nil ? records.suffix(1) : []
        }
        let chosen = records[best.position]
        guard best.overlap < UInt64(length) * 7 / 8 else { return [chosen] }
        let missingBefore = chosen.start > place ? chosen.start - place : 0
        let missingAfter = end > chosen.end ? end - chosen.end : 0
        let second = missingBefore > missingAfter ? best.position - 1 : best.position + 1
        guard records.indices.contains(second),
            Int(chosen.length) + Int(records[second].length) <= maximumChunk
        else { return [chosen] }
        return second < best.position ? [records[second], chosen] : [chosen, records[second]]
    }

    /// Deltas on these, best first; none when no delta on them may be made.
    private func candidates(_ records: [Record]) -> [Candidate] {
        let indexes = reader.indexSet
        do {
            let known = try records.map { try indexes.nearestBases(of: $0.id, below: DeltaChunks.maximumDepth) }
            guard known.allSatisfy({ !$0.isEmpty }), let first = known.first?.first,
                let frame = try indexes.frame(below: first)
            else { return [] }
            // Of two equal chunks side by side one suffices.
            let bases = Self.unique(known.flatMap { $0 })
            let isMoved = known.map { $0[0] } != records.map(\.id) || bases.count != records.count
            // A copy has the chunks of the parent, and not what their deltas rest on.
            guard copy == nil || !isMoved else { return [] }
            func candidate(_ bases: [Digest]) -> Candidate {
                Candidate(
                    bases: bases, start: isMoved ? nil : records[0].start,
                    length: records.reduce(0) { $0 + Int($1.length) },
                    places: records.map { ($0.start, Int($0.length)) }, frame: frame)
            }
            guard isMoved else { return [candidate(bases)] }
            let several = bases.count <= IndexFormat.maximumBases ? bases : Self.unique(known.map { $0[0] })
            // Together they may be too long, or too different.
            return (several.count > 1 ? [several] : []).map(candidate) + several.map { candidate([$0]) }
        } catch {
            // An index with impossible records: none of its chunks is a base.
            return []
        }
    }

    private static func unique(_ ids: [Digest]) -> [Digest] {
        ids.reduce(into: []) { if !$0.contains($1) { $0.append($1) } }
    }
}
