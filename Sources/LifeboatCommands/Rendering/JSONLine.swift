// SPDX-License-Identifier: Apache-2.0

import FoundationEssentials
import LifeboatCore

/// One line of `--json`: an object with sorted keys and a `message_type`.
enum JSONLine {
    /// Without the newline. Control characters of names are escaped by JSON itself.
    static func encode(_ message: some OutputRendering) throws -> [UInt8] {
        try encode(Message(type: type(of: message).messageType, payload: message))
    }

    static func encode(error: LifeboatError) throws -> [UInt8] {
        try encode(Message(type: "error", payload: ErrorPayload(error)))
    }

    static func encode(warning: LifeboatError) throws -> [UInt8] {
        try encode(Message(type: "warning", payload: ErrorPayload(warning)))
    }

    static func encode(_ value: some Encodable) throws -> [UInt8] {
        let encoder = JSONEncoder()
        encoder.keyEncodingStrategy = .convertToSnakeCase
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        return [UInt8](try encoder.encode(value))
    }

    private struct Message<Payload: Encodable>: Encodable {
        let type: String
        let payload: Payload

        private enum CodingKeys: String, CodingKey { case type = "message_type" }

        func encode(to encoder: any Encoder) throws {
            // The same object as the payload's: both ask for a keyed container of one encoder.
            var container = encoder.container(keyedBy: CodingKeys.self)
            try container.encode(type, forKey: .type)
            try payload.encode(to: encoder)
        }
    }

    private struct ErrorPayload: Encodable {
        let message: String
        let causes: [String]
        let hint: String?
        let exitCode: Int32

        init(_ error: LifeboatError) {
            message = error.message
            causes = error.causes
            hint = error.hint
            exitCode = error.exitCode.rawValue
        }
    }
}

/// A name or path in JSON: `path` as text; where it is not UTF-8 also `path_bytes`, base64 of what it really is.
struct JSONName: Sendable, Equatable {
    /// The name itself when it is UTF-8, else in the escaped form of the text output.
    let text: String
    /// Nil when `text` is the name.
    let base64: String?

    init(_ bytes: [UInt8]) {
        if let valid = String(validating: bytes, as: UTF8.self) {
            text = valid
            base64 = nil
        } else {
            text = EscapedName.text(bytes)
            base64 = Data(bytes).base64EncodedString()
        }
    }
}
