// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatIO
import Testing

struct EnvironmentFileTests {
    private func value(_ name: String, of text: String) throws -> String? {
        let folder = try TemporaryFolder(prefix: "lifeboat-env-")
        defer { try? folder.remove() }
        try AtomicFile.write(text, to: "\(folder.path)/.env")
        return try EnvironmentFile.value(of: name, in: "\(folder.path)/.env")?.reveal { $0 }
    }

    @Test(arguments: [
        ("A=1", "1"), ("  A = one two  ", "one two"), ("export A=x", "x"), ("A=x # said", "x"), ("A=x#y", "x#y"),
        ("A='$x # \"y\"' # z", "$x # \"y\""), ("A=\"a\\nb\\\"c\\$d\"", "a\nb\"c$d"), ("A=1\nB=2\nA=3\n", "3"),
        ("#A=0\r\nA=5\r\n", "5"), ("AA=1\nA=b=c", "b=c"),
    ]) func `values are read as Compose reads them`(_ text: String, _ expected: String) throws {
        #expect(try value("A", of: text) == expected)
    }

    @Test func `what is not there is nil, and what cannot be known is refused`() throws {
        #expect(try value("A", of: "B=1\n# A=2\n") == nil)
        #expect(try EnvironmentFile.value(of: "A", in: "/nonexistent/.env") == nil)
        for text in ["A=", "A=\"\"", "A=$B", "A=\"x${B}\"", "A='open", "A=# nothing"] {
            let error = #expect(throws: LifeboatError.self) { _ = try value("A", of: text) }
            #expect(error?.message.contains("x${B}") == false && error?.message.contains("open'") == false)
        }
    }
}
