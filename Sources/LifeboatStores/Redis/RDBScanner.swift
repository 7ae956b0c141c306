// SPDX-License-Identifier: Apache-2.0

/// Walks an RDB file as it streams by, to the last byte: counts the keys of every database, skips every value, checks the
/// CRC-64 at its end.
///
/// Layout: `rdb.h` and `rdb.c` of Redis 2.4 to 8.4 (versions 1 to 13) and of Valkey to 9.1 (version 80). A kind of value
/// newer than that cannot be skipped: from there on nothing is counted (`uncounted` says why) and the end is checked only.
package struct RDBScanner: Sendable {
    package struct Database: Sendable, Equatable {
        package var keys: Int64 = 0
        /// Keys with a time to live.
        package var expires: Int64 = 0
        /// Keys whose time has not come at the scanner's `now`, nor that of all fields of a hash (Valkey's): a server that
        /// loads such a hash drops it, and counts it nowhere.
        package var alive: Int64 = 0
    }

    package enum Checksum: String, Sendable { case verified, disabled, none }

    package private(set) var header: RDBHeader?
    /// `redis-ver`, `ctime`, `repl-offset` … : short ones only.
    package private(set) var auxiliary: [String: String] = [:]
    package private(set) var databases: [Int: Database] = [:]
    /// Function libraries.
    package private(set) var functions: Int64 = 0
    package private(set) var bytes: UInt64 = 0
    /// Nil until the end has been seen.
    package private(set) var checksum: Checksum?
    /// Why the counts are not those of the whole file; nil: they are.
    package private(set) var uncounted: String?

    private struct Frame {
        var kind: Kind
        var count: UInt64
        /// Of `counted`: what comes so many times, for each unit of the length that is read.
        var next = Kind.opcode
    }

    /// What is expected; `count` of the frame says how many times.
    private enum Kind {
        case header, opcode, trailer
        case bytes, lengths, strings
        /// A length n, then `next` n × count times.
        case counted
        case database, expirySeconds, expiryMilliseconds, auxiliaryKey, auxiliaryValue
        case module
        // Composites, made of the above. String and binary double; string, string and time; length, string, string.
        case scores, timedFields, fieldsWithTime
        case quicklistNodes
        case pending, consumers, timedConsumers, groups, countedGroups, timedGroups
        case rawIDs
        /// The time to live of a hash's field; the end of such a hash.
        case fieldTime, timedFieldsEnd
    }

    /// Longer auxiliary texts are of no interest.
    private static let auxiliaryLimit = 1024
    /// What one step may need at once, and a bit.
    private static let carryLimit = auxiliaryLimit + 64

    private var stack = [Frame(kind: .header, count: 1)]
    /// Bytes of a value that pass unseen.
    private var skip: UInt64 = 0
    /// The beginning of a step whose rest has not come.
    private var carry: [UInt8] = []
    private var crc = CRC64()
    private var isPastEnd = false
    private var selected = 0
    private var current = Database()
    private var expiry: UInt64?
    /// Of the hash with timed fields that is being read.
    private var keyIsAlive = false
    private var hasLivingField = false
    private var auxiliaryName: String?
    /// When nothing is counted: the last eight bytes, and the one before them.
    private var tail: [UInt8] = []
    private var beforeTail: UInt8 = 0
    private let now: UInt64

    /// `now`: milliseconds since 1970, for `alive`.
    package init(now: UInt64 = 0) { self.now = now }

    package var keys: Int64 { databases.values.reduce(0) { $0 + $1.keys } }
    package var isComplete: Bool { checksum != nil }

    /// Takes the next bytes of the stream.
    package mutating func consume(_ input: UnsafeRawBufferPointer) throws(RDBError) {
        guard !input.isEmpty else { return }
        guard !isComplete else { throw .trailing }
        bytes += UInt64(input.count)
        if uncounted != nil { return consumeUncounted(input) }
        var position = 0
        if !carry.isEmpty {
            let before = carry.count
            carry += input.prefix(max(0, Self.carryLimit - before))
            let whole = carry
            var done = 0
            // `rethrows` loses the type of the error.
            let outcome = whole.withUnsafeBytes { bytes -> Result<Void, RDBError> in
                do throws(RDBError) {
                    return .success(try run(bytes, &done, until: before))
                } catch {
                    return .failure(error)
                }
            }
            try outcome.get()
            guard done > before else {
                // All of the input is in the carry now: no step needs more than that.
                guard carry.count < Self.carryLimit else { throw .damaged("a step is too long") }
                if !isPastEnd { crc.update(input) }
                return
            }
            carry.removeAll(keepingCapacity: true)
            position = done - before
        }
        try run(input, &position, until: .max)
        if uncounted != nil { return consumeUncounted(input) }
        if isComplete {
            guard position == input.count else { throw .trailing }
            return
        }
        carry += input[position...]
        if !isPastEnd { crc.update(input) }
    }

    /// The stream has ended: throws unless that is where the file ends.
    package mutating func finish() throws(RDBError) {
        if uncounted != nil, checksum == nil {
            guard tail.count == 8, beforeTail == 0xFF else { throw .truncated(bytes: bytes) }
            checksum = try Self.verdict(tail.reversed().reduce(0) { $0 << 8 | UInt64($1) }, crc)
        }
        guard isComplete else { throw bytes < UInt64(RDBHeader.size) ? .notAnRDB : .truncated(bytes: bytes) }
    }

    private static func verdict(_ stored: UInt64, _ crc: CRC64) throws(RDBError) -> Checksum {
        if stored == 0 { return .disabled }
        guard stored == crc.value else { throw .checksum }
        return .verified
    }

    /// Everything but the last eight bytes of the stream goes into the CRC.
    private mutating func consumeUncounted(_ input: UnsafeRawBufferPointer) {
        let fromTail = max(0, min(tail.count, tail.count + input.count - 8))
        if fromTail > 0 {
            tail.withUnsafeBytes { crc.update(UnsafeRawBufferPointer(rebasing: $0[..<fromTail])) }
            beforeTail = tail[fromTail - 1]
            tail.removeFirst(fromTail)
        }
        let passing = max(0, input.count - 8)
        if passing > 0 {
            crc.update(UnsafeRawBufferPointer(rebasing: input[..<passing]))
            beforeTail = input[passing - 1]
        }
        tail += input[passing...]
    }

    // MARK: Steps

    /// Goes on until the bytes are used up, a step needs more than there are, or `position` has passed `limit`.
    private mutating func run(
        _ bytes: UnsafeRawBufferPointer, _ position: inout Int, until limit: Int
    ) throws(RDBError) {
        while position <= limit {
            if skip > 0 {
                let step = min(skip, UInt64(bytes.count - position))
                skip -= step
                position += Int(step)
                if skip > 0 { return }
                continue
            }
            guard let top = stack.last, !isComplete, uncounted == nil else { return }
            if top.kind == .bytes {
                stack.removeLast()
                skip = top.count
                continue
            }
            if compose(top.kind) { continue }
            guard position < bytes.count else { return }
            let before = position
            try step(top, bytes, &position)
            if position == before { return }
        }
    }

    /// One step of the top frame; leaves `position` alone when there are too few bytes.
    private mutating func step(
        _ top: Frame, _ bytes: UnsafeRawBufferPointer, _ position: inout Int
    ) throws(RDBError) {
        switch top.kind {
        case .strings: try skipStrings(top.count, bytes, &position)
        case .opcode:
            let code = bytes[position]
            position += 1
            try begin(code, bytes, position)
        case .lengths, .counted, .database, .module:
            guard let length = try RDBEncoding.length(bytes, position) else { return }
            position += length.size
            used()
            try take(length.value, top)
        case .expirySeconds:
            guard let value = RDBEncoding.number(bytes, &position, 4) else { return }
            used()
            expiry = value * 1000
        case .expiryMilliseconds:
            guard let value = RDBEncoding.number(bytes, &position, 8) else { return }
            used()
            expiry = value
        case .auxiliaryKey, .auxiliaryValue:
            guard let text = try shortString(bytes, &position) else { return }
            used()
            if top.kind == .auxiliaryKey {
                auxiliaryName = text.value
                push(.auxiliaryValue)
            } else if let name = auxiliaryName, let value = text.value, auxiliary.count < 64 {
                auxiliary[name] = value
            }
        case .fieldTime:
            guard let value = RDBEncoding.number(bytes, &position, 8) else { return }
            used()
            // Negative: it has none.
            if Int64(bitPattern: value) < 0 || value > now { hasLivingField = true }
        case .header: try readHeader(bytes, &position)
        case .trailer:
            guard let stored = RDBEncoding.number(bytes, &position, 8) else { return }
            used()
            checksum = try Self.verdict(stored, crc)
        default: return  // `bytes` and composites never come here
        }
    }

    /// One unit of the top frame is done.
    private mutating func used() {
        let last = stack.count - 1
        stack[last].count -= 1
        if stack[last].count == 0 { stack.removeLast() }
    }

    private mutating func push(_ kind: Kind, _ count: UInt64 = 1, next: Kind = .opcode) {
        if count > 0 { stack.append(Frame(kind: kind, count: count, next: next)) }
    }

    /// A length was read for `top`, which is off the stack unless more units of it follow.
    private mutating func take(_ value: UInt64, _ top: Frame) throws(RDBError) {
        switch top.kind {
        case .counted:
            // `used` took one unit off; the others are the factor.
            if top.count > 1 { stack.removeLast() }
            let (count, overflow) = value.multipliedReportingOverflow(by: top.count)
            guard !overflow else { throw .damaged("a count of \(value)") }
            push(top.next, count)
        case .database:
            guard value < 1 << 31 else { throw .damaged("database number \(value)") }
            store()
            selected = Int(value)
            current = databases[selected] ?? Database()
        case .module:
            switch value {
            case 0: return  // end of the module's value
            case 1...5:
                push(.module)
                push(value < 3 ? .lengths : value == 5 ? .strings : .bytes, value == 3 ? 4 : value == 4 ? 8 : 1)
            default: throw .damaged("a module's value with part \(value)")
            }
        default: return
        }
    }

    /// Takes a unit of a composite apart: pushes its parts, the last one first. False: it is none.
    private mutating func compose(_ kind: Kind) -> Bool {
        switch kind {
        case .scores: parts((.strings, 1), (.bytes, 8))
        case .timedFields: parts((.strings, 2), (.fieldTime, 1))
        case .timedFieldsEnd:
            used()
            if keyIsAlive, !hasLivingField { current.alive -= 1 }
        case .fieldsWithTime: parts((.lengths, 1), (.strings, 2))
        case .quicklistNodes: parts((.lengths, 1), (.strings, 1))
        case .rawIDs: parts((.bytes, 16))
        case .pending: parts((.bytes, 24), (.lengths, 1))
        case .consumers, .timedConsumers:
            used()
            push(.counted, 1, next: .rawIDs)
            push(.bytes, kind == .consumers ? 8 : 16)
            push(.strings)
        case .groups, .countedGroups, .timedGroups:
            used()
            push(.counted, 1, next: kind == .timedGroups ? .timedConsumers : .consumers)
            push(.counted, 1, next: .pending)
            push(.lengths, kind == .groups ? 2 : 3)
            push(.strings)
        default: return false
        }
        return true
    }

    private mutating func parts(_ first: (Kind, UInt64), _ second: (Kind, UInt64)? = nil) {
        used()
        if let second { push(second.0, second.1) }
        push(first.0, first.1)
    }

    // MARK: Opcodes and types

    private mutating func begin(_ code: UInt8, _ bytes: UnsafeRawBufferPointer, _ position: Int) throws(RDBError) {
        let isValkey = header?.isValkey ?? false
        switch code {
        case 0xFF:
            crc.update(UnsafeRawBufferPointer(rebasing: bytes[..<position]))
            isPastEnd = true
            store()
            stack.removeAll()
            if (header?.version ?? 0) >= 5 { push(.trailer) } else { checksum = Checksum.none }
        case 0xFE: push(.database)
        case 0xFD: push(.expirySeconds)
        case 0xFC: push(.expiryMilliseconds)
        case 0xFB: push(.lengths, 2)
        case 0xFA: push(.auxiliaryKey)
        case 0xF9: push(.bytes)
        case 0xF8: push(.lengths)
        case 0xF7:
            push(.module)
            push(.lengths, 3)
        case 0xF5:
            functions += 1
            push(.strings)
        case 0xF4: push(.lengths, 3)
        case 0xF3 where isValkey:
            push(.counted, 2, next: .lengths)
            push(.strings)
        default:
            guard pushValue(code, isValkey) else {
                store()
                uncounted = "it holds a kind of value this version does not know (\(code))"
                return
            }
            push(.strings)
            current.keys += 1
            if expiry != nil { current.expires += 1 }
            keyIsAlive = expiry.map { $0 > now } ?? true
            hasLivingField = false
            if keyIsAlive { current.alive += 1 }
            expiry = nil
        }
    }

    /// Pushes what a value of that type is made of; false: not known.
    private mutating func pushValue(_ type: UInt8, _ isValkey: Bool) -> Bool {
        switch type {
        case 0, 9, 10, 11, 12, 13, 16, 17, 20: push(.strings)
        case 1, 2, 14: push(.counted, 1, next: .strings)
        case 4: push(.counted, 2, next: .strings)
        case 5: push(.counted, 1, next: .scores)
        case 7:
            push(.module)
            push(.lengths)
        case 18: push(.counted, 1, next: .quicklistNodes)
        case 15, 19, 21:
            push(.counted, 1, next: type == 15 ? .groups : type == 19 ? .countedGroups : .timedGroups)
            push(.lengths, type == 15 ? 3 : 8)
            push(.counted, 2, next: .strings)
        case 22 where isValkey:
            push(.timedFieldsEnd)
            push(.counted, 1, next: .timedFields)
        case 22: push(.counted, 1, next: .fieldsWithTime)
        case 23 where !isValkey: push(.strings)
        case 24 where !isValkey:
            push(.counted, 1, next: .fieldsWithTime)
            push(.bytes, 8)
        case 25 where !isValkey:
            push(.strings)
            push(.bytes, 8)
        default: return false
        }
        return true
    }

    private mutating func store() {
        guard current != Database() || databases[selected] != nil else { return }
        databases[selected] = current
    }

    // MARK: Primitives

    private mutating func readHeader(_ bytes: UnsafeRawBufferPointer, _ position: inout Int) throws(RDBError) {
        guard bytes.count - position >= RDBHeader.size else { return }
        let text = String(decoding: bytes[position..<position + RDBHeader.size], as: UTF8.self)
        guard let header = RDBHeader(text) else { throw .notAnRDB }
        self.header = header
        position += RDBHeader.size
        stack = [Frame(kind: .opcode, count: .max)]
    }

    private mutating func skipStrings(
        _ count: UInt64, _ bytes: UnsafeRawBufferPointer, _ position: inout Int
    ) throws(RDBError) {
        var left = count
        while left > 0, skip == 0, position < bytes.count {
            guard let string = try RDBEncoding.string(bytes, position) else { break }
            left -= 1
            position += string.header
            let here = UInt64(bytes.count - position)
            position += Int(min(string.length, here))
            skip = string.length - min(string.length, here)
        }
        let last = stack.count - 1
        stack[last].count = left
        if left == 0 { stack.removeLast() }
    }

    private struct ShortString { var value: String? }

    /// A short string or number as text; `value` nil: too long or packed, and skipped. Nil: too few bytes.
    private mutating func shortString(
        _ bytes: UnsafeRawBufferPointer, _ position: inout Int
    ) throws(RDBError) -> ShortString? {
        guard let string = try RDBEncoding.string(bytes, position) else { return nil }
        let encoding = bytes[position] >> 6 == 3 ? bytes[position] & 0x3F : nil
        guard encoding != 3, string.length <= UInt64(Self.auxiliaryLimit) else {
            position += string.header
            skip = string.length
            return ShortString(value: nil)
        }
        guard bytes.count - position >= string.header + Int(string.length) else { return nil }
        let start = position + string.header
        let content = bytes[start..<start + Int(string.length)]
        position = start + Int(string.length)
        guard encoding != nil else { return ShortString(value: String(decoding: content, as: UTF8.self)) }
        // Little endian, signed.
        var value = content.reversed().reduce(Int64(0)) { $0 << 8 | Int64($1) }
        let bits = content.count * 8
        if value >> (bits - 1) & 1 == 1 { value -= 1 << bits }
        return ShortString(value: "\(value)")
    }
}
