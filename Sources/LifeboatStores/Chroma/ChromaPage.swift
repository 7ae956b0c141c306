// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatFormats

/// The records of one answer to `get`, each as a line of a capture:
/// `{"id":…,"embedding":"…","document":…,"uri":…,"metadata":…}`.
///
/// The embedding is base64 of little-endian 32-bit floats, which is what the server keeps: nothing is rounded. All else
/// is the server's own text, so that `1.0` does not become `1`; metadata has its members sorted, for the server gives
/// them in another order each time.
struct ChromaPage {
    private static let columns: Set<String> = ["ids", "embeddings", "documents", "uris", "metadatas"]

    /// Without line ends.
    private(set) var lines: [[UInt8]] = []
    private(set) var ids: [String] = []

    init(_ answer: [UInt8]) throws {
        var columns: [String: [Range<Int>]] = [:]
        var scanner = JSONScanner(answer)
        try scanner.object { key, scanner in
            guard Self.columns.contains(key) else {
                _ = try scanner.value()
                return
            }
            if try scanner.null() { return }
            var ranges: [Range<Int>] = []
            try scanner.array { ranges.append(try $0.value()) }
            columns[key] = ranges
        }
        let identifiers = columns["ids"] ?? []
        for (name, column) in columns where column.count != identifiers.count {
            throw JSONScanError(reason: "\(column.count) \(name) of \(identifiers.count) records", offset: 0)
        }
        for (index, range) in identifiers.enumerated() {
            var identifier = JSONScanner(answer, range)
            ids.append(try identifier.string())
            var line = Array(#"{"id":"#.utf8) + answer[range]
            if let range = columns["embeddings"]?[index] {
                line += Array(#","embedding":"#.utf8) + (try Self.embedding(answer, range, ids[index]))
            }
            for (name, column) in [("document", "documents"), ("uri", "uris")] {
                line += Array(",\"\(name)\":".utf8) + (columns[column].map { answer[$0[index]] } ?? Self.null[...])
            }
            line += Array(#","metadata":"#.utf8)
            line += try columns["metadatas"].map { try JSONScanner.canonical(answer, $0[index]) } ?? Self.null
            line.append(UInt8(ascii: "}"))
            lines.append(line)
        }
    }

    private static let null = Array("null".utf8)

    /// A list of numbers as base64 in quotes.
    private static func embedding(_ answer: [UInt8], _ range: Range<Int>, _ id: String) throws -> [UInt8] {
        var scanner = JSONScanner(answer, range)
        if try scanner.null() { throw LifeboatError("record '\(id)' has no vector") }
        var bytes: [UInt8] = []
        do {
            try scanner.array { scanner in
                let bits = try scanner.float().bitPattern
                for shift in [0, 8, 16, 24] as [UInt32] { bytes.append(UInt8(truncatingIfNeeded: bits >> shift)) }
            }
        } catch let error as JSONScanError {
            throw LifeboatError("the vector of record '\(id)' cannot be read", causes: [error.lifeboatError.message])
        }
        return [UInt8(ascii: "\"")] + Base64.encode(bytes, padded: true) + [UInt8(ascii: "\"")]
    }
}

/// A line of a capture, taken apart again.
struct ChromaRecord {
    /// Each as it is written in the line.
    var id: [UInt8] = []
    var embedding: [UInt8] = []
    var document: [UInt8] = []
    var uri: [UInt8] = []
    var metadata: [UInt8] = []

    init(_ line: [UInt8]) throws {
        var scanner = JSONScanner(line)
        try scanner.object { key, scanner in
            let value = Array(line[try scanner.value()])
            switch key {
            case "id": id = value
            case "embedding": embedding = value
            case "document": document = value
            case "uri": uri = value
            case "metadata": metadata = value
            default: throw JSONScanError(reason: "an unknown member '\(key)'", offset: scanner.position)
            }
        }
        try scanner.finish()
        for part in [id, embedding, document, uri, metadata] where part.isEmpty {
            throw JSONScanError(reason: "a record without all its members", offset: 0)
        }
    }

    /// The vector.
    func floats() throws -> [Float] {
        guard embedding.first == UInt8(ascii: "\""),
            let bytes = Base64.decode(embedding.dropFirst().dropLast(), padded: true), bytes.count % 4 == 0
        else { throw JSONScanError(reason: "a vector that is no base64 of floats", offset: 0) }
        return stride(from: 0, to: bytes.count, by: 4).map { start in
            Float(bitPattern: (0..<4).reduce(UInt32(0)) { $0 | UInt32(bytes[start + $1]) << UInt32(8 * $1) })
        }
    }

    /// The vector as a JSON list of numbers, each the shortest that means the same float.
    func numbers() throws -> [UInt8] {
        Array("[\(try floats().map { "\($0)" }.joined(separator: ","))]".utf8)
    }

    /// The columns of a call that adds these records.
    static func columns(_ records: [ChromaRecord], base64: Bool) throws -> [UInt8] {
        func list(_ items: [[UInt8]]) -> [UInt8] {
            [UInt8(ascii: "[")] + Array(items.joined(separator: [UInt8(ascii: ",")])) + [UInt8(ascii: "]")]
        }
        var body = Array(#"{"ids":"#.utf8) + list(records.map(\.id))
        body +=
            Array(#","embeddings":"#.utf8)
            + list(base64 ? records.map(\.embedding) : try records.map { try $0.numbers() })
        body += Array(#","documents":"#.utf8) + list(records.map(\.document))
        body += Array(#","uris":"#.utf8) + list(records.map(\.uri))
        body += Array(#","metadatas":"#.utf8) + list(records.map(\.metadata))
        body.append(UInt8(ascii: "}"))
        return body
    }
}
