// SPDX-License-Identifier: Apache-2.0

import FoundationEssentials
import LifeboatCore

/// Codable values as JSON text with sorted keys: equal values are equal bytes.
enum JSONText {
    static func encode(_ value: some Encodable, pretty: Bool = false) throws -> [UInt8] {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        if pretty { encoder.outputFormatting.insert(.prettyPrinted) }
        return Array(try encoder.encode(value))
    }

    static func decode<Value: Decodable>(
        _ type: Value.Type, _ bytes: [UInt8], _ subject: String
    ) throws(LifeboatError) -> Value {
        do {
            return try JSONDecoder().decode(type, from: Data(bytes))
        } catch {
            throw LifeboatError("\(subject) cannot be read", causes: ["\(error)"])
        }
    }
}
