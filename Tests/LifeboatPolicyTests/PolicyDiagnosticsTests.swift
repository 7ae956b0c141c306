// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatIO
import LifeboatPolicy
import Testing

@Suite struct PolicyDiagnosticsTests {
    struct Case: Sendable, CustomTestStringConvertible {
        let name: String
        let policy: String
        let expected: String
        var testDescription: String { name }
    }

    static let cases: [Case] = [
        diagnosticCases, vectorDiagnosticCases, fileStoreCases, serviceControlCases, momentCases, drillCases,
    ].flatMap {
        $0.split(separator: "=== ")
    }.map {
        section in
        let parts = section.split(separator: "--- expected", maxSplits: 1, omittingEmptySubsequences: false)
        let lines = parts[0].split(separator: "\n", maxSplits: 1, omittingEmptySubsequences: false)
        let expected = parts[1].split(separator: "\n").joined(separator: "\n")
        return Case(name: String(lines[0]), policy: String(lines[1]), expected: expected)
    }

    static func diagnostics(_ text: String) -> PolicyDiagnostics? {
        do throws(PolicyDiagnostics) {
            _ = try PolicyParser.parse(text, source: "lifeboat.yaml", folder: "/etc/demo")
            return nil
        } catch {
            return error
        }
    }

    @Test(arguments: cases) func `each mistake is told with its place and a way out`(_ example: Case) {
        let found = Self.diagnostics(example.policy)?.description ?? "valid"
        #expect(found == example.expected)
    }

    @Test func `there are enough examples`() { #expect(Self.cases.count >= 40) }

    @Test(arguments: cases) func `messages have the house form and leak nothing`(_ example: Case) throws {
        let found = try #require(Self.diagnostics(example.policy))
        for diagnostic in found.diagnostics {
            #expect(!diagnostic.message.hasSuffix("."))
            #expect(diagnostic.message.first?.isUppercase != true)
            if let hint = diagnostic.hint {
                #expect(hint.hasSuffix(".") || hint.hasSuffix("?") || hint.hasSuffix("}."))
            }
            #expect(diagnostic.location.line >= 1 && diagnostic.location.column >= 1)
        }
        #expect(found.diagnostics.map(\.location) == found.diagnostics.map(\.location).sorted())
        let error = found.lifeboatError
        #expect(error.exitCode == .usage)
        #expect(!error.description.contains("hunter2"))
        #expect(!found.description.contains("hunter2"))
    }

    @Test func `one problem and many convert to an error`() throws {
        let one = try #require(Self.diagnostics("stack: demo\nrepository: /r\nencryption: none\ncomponents: {}\n"))
        #expect(
            one.lifeboatError.description == """
                error: the policy 'lifeboat.yaml' is not valid
                cause: lifeboat.yaml:4:13: 'components' is empty
                hint: Name at least one thing to protect.
                """)
        let two = try #require(Self.diagnostics("stack: demo\nrepository: /r\n"))
        #expect(
            two.lifeboatError.description == """
                error: the policy 'lifeboat.yaml' is not valid: 2 problems
                cause: lifeboat.yaml:1:1: the policy needs the key 'encryption'
                  hint: Write 'encryption: {recipients: [age1…]}', 'encryption: {passphrase: {file: PATH}}' or 'encryption: none'.
                cause: lifeboat.yaml:1:1: the policy needs the key 'components'
                  hint: Name at least one thing to protect.
                hint: Nothing was run; correct the lines above.
                """)
    }

    @Test func `a policy of a mebibyte is refused`() throws {
        let long = "stack: demo\n# " + String(repeating: "x", count: 1 << 20)
        let found = try #require(Self.diagnostics(long))
        #expect(found.diagnostics.count == 1)
        #expect(found.diagnostics[0].message.contains("the limit is 1 MiB"))
    }

    @Test func `a text that unfolds to billions of values is refused at once`() throws {
        var bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n"
        for level in 1...40 {
            let alias = "*a\(level - 1)"
            bomb += "a\(level): &a\(level) [\(Array(repeating: alias, count: 9).joined(separator: ", "))]\n"
        }
        bomb += "? *a40\n: key\n"
        let found = try #require(Self.diagnostics(bomb))
        #expect(found.diagnostics.map(\.message) == ["aliases (*name) are not supported in a policy"])
        #expect(found.diagnostics[0].location.line == 2)
    }

    @Test func `the deepest text that YAML takes fits the stack of a worker thread`() throws {
        let text = "stack: " + String(repeating: "[", count: 990) + String(repeating: "]", count: 990)
        let thread = BlockingThread<Int>(name: "policy", stackSize: 1 << 20) {
            Self.diagnostics(text)?.diagnostics.count ?? 0
        }
        #expect(try thread.join() > 0)
    }

    @Test(arguments: [40, 900, 5000, 100_000]) func `deep nesting is refused`(_ depth: Int) throws {
        for opening in ["[", "{a: ", "- ", "? "] {
            let found = try #require(Self.diagnostics("stack: " + String(repeating: opening, count: depth)))
            #expect(!found.diagnostics.isEmpty)
            let closed = String(repeating: "[", count: depth) + String(repeating: "]", count: depth)
            #expect(!(try #require(Self.diagnostics("stack: \(closed)")).diagnostics.isEmpty))
        }
    }
}
