// SPDX-License-Identifier: Apache-2.0

import FoundationEssentials
import LifeboatCore
import LifeboatIO
import Testing

/// The architecture as the package manager and the sources tell it, against the table it was designed with.
@Suite struct PackageStructureTests {
    /// What each shipped target may import: targets of this package, then products of others. A change here is a change
    /// of the architecture: CONTRIBUTING and the comment in Package.swift say the same in words.
    static let arrows: [String: (targets: Set<String>, products: Set<String>)] = [
        "LifeboatCore": ([], []),
        "LifeboatIO": (["LifeboatCore", "CLinux"], []),
        "LifeboatFormats": (coreIO.union(["CBlake3", "CLibArchive", "CLibCrypto", "CLibZstd"]), []),
        "LifeboatHTTP": (coreIO.union(["CLibCurl"]), []),
        "LifeboatStorage": (coreIO.union(["LifeboatHTTP"]), []),
        "LifeboatRepository": (coreIO.union(["LifeboatFormats", "LifeboatStorage"]), []),
        "LifeboatPolicy": (["LifeboatCore"], ["Yams"]),
        "LifeboatServices": (coreIO.union(["LifeboatHTTP"]), []),
        "LifeboatStores": (coreIO.union(["LifeboatFormats", "LifeboatHTTP", "CLibPQ", "CSQLite"]), []),
        "LifeboatBackup": (engine, []),
        "LifeboatRestore": (engine, []),
        "LifeboatDrill": (engine.union(["LifeboatRestore"]), []),
        "LifeboatCommands": (
            engine.union(["LifeboatBackup", "LifeboatRestore", "LifeboatDrill"]), ["ArgumentParser"]
        ),
        "lifeboat": (coreIO.union(["LifeboatCommands"]), []),
        "CBlake3": ([], []),
        "CLinux": ([], []),
        "CLibArchive": ([], []),
        "CLibZstd": ([], []),
        "CLibCurl": ([], []),
        "CLibCrypto": ([], []),
        "CLibPQ": ([], []),
        "CSQLite": ([], []),
    ]
    /// Targets that serve tests alone.
    static let forTests: Set<String> = ["LifeboatTesting", "LifeboatFuzz"]
    static let coreIO: Set<String> = ["LifeboatCore", "LifeboatIO"]
    static let engine = coreIO.union([
        "LifeboatFormats", "LifeboatHTTP", "LifeboatStorage", "LifeboatRepository", "LifeboatPolicy",
        "LifeboatServices", "LifeboatStores",
    ])

    /// Modules of the toolchain that shipped code may use. Full Foundation is not among them: it doubles the start-up
    /// time.
    static let toolchain: Set<String> = ["Glibc", "FoundationEssentials", "Synchronization", "Dispatch"]
    static let toolchainOfTests = toolchain.union(["Testing", "Foundation"])

    /// Each C module has one owner.
    static let owners = [
        "CLinux": "LifeboatIO", "CBlake3": "LifeboatFormats", "CLibArchive": "LifeboatFormats",
        "CLibZstd": "LifeboatFormats", "CLibCrypto": "LifeboatFormats", "CLibCurl": "LifeboatHTTP",
        "CLibPQ": "LifeboatStores", "CSQLite": "LifeboatStores",
    ]

    // MARK: What the package manager says

    struct Description: Decodable {
        struct Target: Decodable {
            var name: String
            var type: String
            var path: String
            var targetDependencies: [String]?
            var productDependencies: [String]?
        }
        struct Product: Decodable {
            var name: String
            var targets: [String]
            var type: [String: String?]
        }
        var name: String
        var targets: [Target]
        var products: [Product]
    }

    static let root: String = {
        // Tests/LifeboatScenarioTests/this file
        var components = #filePath.split(separator: "/", omittingEmptySubsequences: false)
        components.removeLast(3)
        return components.joined(separator: "/")
    }()

    static func describe() throws -> Description {
        let scratch = try TemporaryFolder()
        defer { try? scratch.remove() }
        // A scratch folder of its own: the one of the build is locked by the `swift test` that runs this. Describing
        // reads manifests only and resolves nothing, so it needs no network.
        let result = try SystemProcessRunner().run(
            ProcessCommand(
                "swift",
                [
                    "package", "--package-path", Self.root, "--scratch-path", scratch.path, "describe", "--type",
                    "json",
                ]),
            deadline: 120)
        let complaint = result.standardError
        try #require(result.termination.succeeded, "\(complaint)")
        let decoder = JSONDecoder()
        decoder.keyDecodingStrategy = .convertFromSnakeCase
        return try decoder.decode(Description.self, from: Data(result.standardOutput))
    }

    @Test func targetsDependOnExactlyWhatTheTableNames() throws {
        let description = try Self.describe()
        #expect(description.name == "lifeboat")
        // SwiftPM counts every executable as a product, also the one for fuzzing that nothing declares.
        #expect(description.products.map(\.name).filter { $0 != "LifeboatFuzz" } == ["lifeboat"])
        #expect(description.products.first?.targets == ["lifeboat"])
        #expect(description.products.first.map { Array($0.type.keys) } == ["executable"])

        let shipped = description.targets.filter { $0.type != "test" && !Self.forTests.contains($0.name) }
        #expect(Set(shipped.map(\.name)) == Set(Self.arrows.keys))
        for target in shipped {
            let row = try #require(Self.arrows[target.name], "\(target.name) is not in the table")
            #expect(Set(target.targetDependencies ?? []) == row.targets, "targets of \(target.name)")
            #expect(Set(target.productDependencies ?? []) == row.products, "products of \(target.name)")
            #expect(target.path == "Sources/\(target.name)")
        }
    }

    @Test func onlyTestsUseTheTestSupportAndNoTestReachesIntoC() throws {
        let description = try Self.describe()
        for target in description.targets {
            let dependencies = Set(target.targetDependencies ?? [])
            if target.name == "LifeboatFuzz" {
                #expect(target.path == "Tests/LifeboatFuzz")
            } else if target.type != "test" {
                #expect(!dependencies.contains("LifeboatTesting"), "\(target.name) depends on test support")
            } else {
                #expect(dependencies.isDisjoint(with: Self.owners.keys), "\(target.name) depends on a C module")
                #expect(target.path == "Tests/\(target.name)")
            }
        }
        // Every library has its test target.
        let tests = Set(description.targets.filter { $0.type == "test" }.map(\.name))
        for name in Self.arrows.keys where name.hasPrefix("Lifeboat") {
            #expect(tests.contains("\(name)Tests"), "\(name) has no test target")
        }
    }

    // MARK: What the sources say

    struct Import {
        var module: String
        /// Relative to the package, with the line.
        var place: String
    }

    /// The imports of every Swift file below `folder`, which is relative to the package.
    static func imports(below folder: String) throws -> [Import] {
        var found: [Import] = []
        for name in try FileManager.default.subpathsOfDirectory(atPath: "\(root)/\(folder)").sorted()
        where name.hasSuffix(".swift") {
            let file = "\(folder)/\(name)"
            let text = try String(contentsOfFile: "\(root)/\(file)", encoding: .utf8)
            // Texts of many lines hold programs in other languages.
            var isText = false
            for (number, line) in text.split(separator: "\n", omittingEmptySubsequences: false).enumerated() {
                let isCode = !isText
                if line.ranges(of: "\"\"\"").count % 2 == 1 { isText.toggle() }
                if isCode, let module = importedModule(line) {
                    found.append(Import(module: module, place: "\(file):\(number + 1)"))
                }
            }
        }
        return found
    }

    /// The module of an import line, `package import struct A.B` included; nil for other lines.
    static func importedModule(_ line: Substring) -> String? {
        let code = line.prefix { $0 != ";" }
        var words = code.split(whereSeparator: { $0 == " " || $0 == "\t" })[...]
        let modifiers: Set<Substring> = ["public", "package", "internal", "fileprivate", "private"]
        while let word = words.first, word.hasPrefix("@") || modifiers.contains(word) { words = words.dropFirst() }
        guard words.first == "import" else { return nil }
        words = words.dropFirst()
        let kinds: Set<Substring> = ["struct", "class", "enum", "protocol", "typealias", "func", "let", "var"]
        if let word = words.first, kinds.contains(word) { words = words.dropFirst() }
        return words.first.map { String($0.prefix { $0 != "." }) }
    }

    @Test(
        arguments: [
            ("import Glibc", "Glibc"), ("    package import LifeboatCore", "LifeboatCore"),
            ("@preconcurrency import Foundation", "Foundation"), ("internal import struct A.B", "A"),
            ("import C.D // why", "C"), ("// import Glibc", nil), ("let text = \"import Glibc\"", nil),
            ("important", nil),
            ("import func Glibc.open; import X", "Glibc"),
        ] as [(Substring, String?)])
    func importLinesAreUnderstood(line: Substring, module: String?) {
        #expect(Self.importedModule(line) == module)
    }

    @Test func sourcesImportOnlyWhatTheirRowNames() throws {
        for (target, row) in Self.arrows where !target.hasPrefix("C") {
            let allowed = row.targets.union(row.products).union(Self.toolchain)
            let imports = try Self.imports(below: "Sources/\(target)")
            for found in imports where !allowed.contains(found.module) {
                Issue.record("\(found.place): \(target) may not import \(found.module)")
            }
        }
    }

    @Test func exactlyOneTargetImportsEachCModule() throws {
        var importers: [String: Set<String>] = [:]
        for folder in ["Sources", "Tests"] {
            for target in try FileManager.default.contentsOfDirectory(atPath: "\(Self.root)/\(folder)") {
                for found in try Self.imports(below: "\(folder)/\(target)") {
                    importers[found.module, default: []].insert(target)
                }
            }
        }
        for (module, owner) in Self.owners {
            let others = importers[module, default: []].subtracting([owner])
            #expect(others.isEmpty, "\(module) belongs to \(owner)")
        }
        #expect(importers["LifeboatCore", default: []].contains("LifeboatIO"), "the scan found nothing")
    }

    @Test func testsImportOnlyThisPackageItsProductsAndTheToolchain() throws {
        let own = Set(Self.arrows.keys.filter { !$0.hasPrefix("C") }).union(["LifeboatTesting"])
        let allowed = own.union(Self.toolchainOfTests)
        for folder in ["Tests", "Sources/LifeboatTesting"] {
            for found in try Self.imports(below: folder) where !allowed.contains(found.module) {
                Issue.record("\(found.place): tests may not import \(found.module)")
            }
        }
    }

    // MARK: What the documents say

    @Test func theReadmeListsEveryExitCodeWithItsMeaning() throws {
        let readme = try String(contentsOfFile: "\(Self.root)/README.md", encoding: .utf8)
        let rows = readme.split(separator: "\n").filter {
            $0.hasPrefix("| ") && ("0"..."9").contains($0.dropFirst(2).prefix(1))
        }
        #expect(rows == ExitCode.allCases.map { "| \($0.rawValue) | \($0.meaning) |" })
    }
}
