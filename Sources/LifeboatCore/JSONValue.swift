// SPDX-License-Identifier: Apache-2.0

/// Any JSON value, for looking into answers whose shape is not ours.
package enum JSONValue: Sendable, Equatable {
    case null
    case bool(Bool)
    case integer(Int64)
    case number(Double)
    case string(String)
    case array([JSONValue])
    case object([String: JSONValue])

    /// Deeper values are refused: they come from outside.
    package static let maximumDepth = 64

    /// The value at `path`: names parted by dots, indexes in brackets or as names (`checks[0].ok`, `checks.0.ok`). Nil
    /// when there is none.
    package func value(at path: String) -> JSONValue? {
        var value = self
        for piece in path.split(whereSeparator: { ".[]".contains($0) }) {
            switch value {
            case .object(let members):
                guard let member = members[String(piece)] else { return nil }
                value = member
            case .array(let items):
                guard let index = Int(piece), items.indices.contains(index) else { return nil }
                value = items[index]
            default: return nil
            }
        }
        return value
    }

    /// What a scalar is called in a policy: `true`, `3`, `1.5`, `ok`; nil for arrays and objects.
    package var text: String? {
        switch self {
        case .null: "null"
        case .bool(let value): value ? "true" : "false"
        case .integer(let value): "\(value)"
        case .number(let value): "\(value)"
        case .string(let value): value
        case .array, .object: nil
        }
    }

    /// Whether a scalar is the one `expected` means; `3` is `3.0`.
    package func matches(_ expected: String) -> Bool {
        if text == expected { return true }
        switch self {
        case .integer(let value): return Double(expected) == Double(value)
        case .number(let value): return Double(expected) == value
        default: return false
        }
    }
}

extension JSONValue: Codable {
    package init(from decoder: any Decoder) throws {
        guard decoder.codingPath.count < Self.maximumDepth else {
            throw DecodingError.dataCorrupted(
                DecodingError.Context(codingPath: [], debugDescription: "nested too deeply"))
        }
        if var list = try? decoder.unkeyedContainer() {
            var items: [JSONValue] = []
            while !list.isAtEnd { items.append(try list.decode(JSONValue.self)) }
            self = .array(items)
            return
        }
        if let members = try? decoder.container(keyedBy: Name.self) {
            var object: [String: JSONValue] = [:]
            for name in members.allKeys {
                object[name.stringValue] = try members.decode(JSONValue.self, forKey: name)
            }
            self = .object(object)
            return
        }
        // What is neither a list nor an object is one of these: a failed attempt is the answer "no".
        let scalar = try decoder.singleValueContainer()
        if scalar.decodeNil() {
            self = .null
        } else if let value = try? scalar.decode(Bool.self) {
            self = .bool(value)
        } else if let value = try? scalar.decode(Int64.self) {
            self = .integer(value)
        } else if let value = try? scalar.decode(Double.self) {
            self = .number(value)
        } else {
            self = .string(try scalar.decode(String.self))
        }
    }

    package func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        switch self {
        case .null: try container.encodeNil()
        case .bool(let value): try container.encode(value)
        case .integer(let value): try container.encode(value)
        case .number(let value): try container.encode(value)
        case .string(let value): try container.encode(value)
        case .array(let items): try container.encode(items)
        case .object(let members): try container.encode(members)
        }
    }

    private struct Name: CodingKey {
        let stringValue: String
        var intValue: Int? { nil }
        init?(stringValue: String) { self.stringValue = stringValue }
        init?(intValue: Int) { return nil }
    }
}
