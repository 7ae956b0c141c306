// SPDX-License-Identifier: Apache-2.0

package import LifeboatCore

/// Anything a program can write to its standard output, and another take from its standard input.
package struct CommandPolicy: Sendable, Equatable {
    /// Argument vectors, run without a shell in the policy's folder.
    package var capture: [String]
    /// Nil: restored by hand only.
    package var restore: [String]?
    /// Bytes of output below which a capture failed.
    package var minimum: UInt64
    /// Variables of both programs' environment. Secrets never stand in arguments.
    package var environment: [String: SecretReference]
    /// Whether `capture` runs before `restore`, so that it can be undone.
    package var keepsOld: Bool

    package init(
        capture: [String], restore: [String]? = nil, minimum: UInt64 = 1,
        environment: [String: SecretReference] = [:], keepsOld: Bool = true
    ) {
        self.capture = capture
        self.restore = restore
        self.minimum = minimum
        self.environment = environment
        self.keepsOld = keepsOld
    }
}

extension PolicyReader {
    /// Not `command`: that reads one command of any key.
    mutating func commandStore(_ node: LocatedNode, _ path: String) -> CommandPolicy? {
        guard
            let fields = fields(node, path, known: ["capture", "restore", "minimum", "environment", "keep_old"])
        else { return nil }
        let capture = required("capture", in: fields, hint: "Name the program whose output is to be kept.")
            .flatMap { command($0, fields.path("capture")) }
        let restore = fields["restore"].flatMap { command($0, fields.path("restore")) }
        let minimum = size("minimum", in: fields) ?? 1
        let keepsOld = bool("keep_old", in: fields, default: true)
        var environment: [String: SecretReference] = [:]
        if let node = fields["environment"], let variables = entries(node, fields.path("environment")) {
            let names = PolicyFields(path: fields.path("environment"), location: node.location, entries: variables)
            for variable in variables {
                guard Self.isEnvironmentName(variable.key) else {
                    report(
                        "'\(Self.shortened(variable.key))' is no name of an environment variable", at: variable.location
                    )
                    continue
                }
                environment[variable.key] = secret(variable.key, in: names)
            }
        }
        guard let capture else { return nil }
        return CommandPolicy(
            capture: capture, restore: restore, minimum: minimum, environment: environment, keepsOld: keepsOld)
    }
}
