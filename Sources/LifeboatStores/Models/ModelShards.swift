// SPDX-License-Identifier: Apache-2.0

import LifeboatCore

/// Models that lie in several files: what lists the others, or how they are named, says which have to be there.
enum ModelShards {
    private static let indexLimit = 32 << 20

    /// Shards that are missing among the files of a model or a folder tree; `model` names the file that asks for them.
    static func problems(_ files: [ModelFile], _ listing: ModelListing) -> [ModelProblem] {
        let names = Set(files.map(\.name))
        var problems: [ModelProblem] = []
        for file in files where file.name.hasSuffix(".index.json") {
            do {
                problems += try missing(named: file, names, listing)
            } catch {
                problems.append(ModelProblem(model: file.name, reason: LifeboatError.converting(error).message))
            }
        }
        var seen: Set<String> = []
        for file in files {
            guard let set = ShardName(file.name), seen.insert(set.base).inserted else { continue }
            for shard in set.all where !names.contains(shard) {
                problems.append(
                    ModelProblem(
                        model: file.name, reason: "'\(shard)' is missing, one of \(set.count) files of this model"))
            }
        }
        return problems
    }

    /// Every file the `weight_map` of a `*.safetensors.index.json` names has to be there.
    private static func missing(
        named index: ModelFile, _ names: Set<String>, _ listing: ModelListing
    ) throws -> [ModelProblem] {
        guard case .object(let map)? = try listing.json(index.path, limit: indexLimit)["weight_map"] else { return [] }
        let folder = index.name.lastIndex(of: "/").map { index.name[...$0] } ?? ""
        return Set(map.values.compactMap(\.string)).sorted().filter { !names.contains("\(folder)\($0)") }.map {
            ModelProblem(model: index.name, reason: "'\($0)' is missing, which '\(index.name)' names")
        }
    }
}

/// The name of one file of several, as llama.cpp and transformers number them: `model-00002-of-00003.gguf`.
struct ShardName: Equatable {
    /// Counted from 1.
    var number: Int
    var count: Int
    /// What comes before the numbers, and the ending, with its dot.
    private var prefix: String
    private var ending: String

    private static let digits = 5
    /// More is no model's.
    private static let most = 10_000

    /// Nil when the name has no such numbers, or ones that cannot be.
    init?(_ name: String) {
        guard let dot = name.lastIndex(of: "."), ["gguf", "safetensors"].contains(name[name.index(after: dot)...])
        else { return nil }
        let stem = name[..<dot]
        let parts = stem.split(separator: "-", omittingEmptySubsequences: false)
        guard parts.count >= 4, parts[parts.count - 2] == "of", let number = Self.number(parts[parts.count - 3]),
            let count = Self.number(parts[parts.count - 1]), number >= 1, number <= count, count <= Self.most
        else { return nil }
        self.number = number
        self.count = count
        prefix = parts.dropLast(3).joined(separator: "-")
        ending = String(name[dot...])
    }

    private static func number(_ text: Substring) -> Int? {
        guard text.utf8.count == digits, text.utf8.allSatisfy({ (48...57).contains($0) }) else { return nil }
        return Int(text)
    }

    /// The same for all files of a model.
    var base: String { "\(prefix) \(count)\(ending)" }

    /// The names of all files of the model.
    var all: [String] { (1...count).map { "\(prefix)-\(Self.padded($0))-of-\(Self.padded(count))\(ending)" } }

    private static func padded(_ number: Int) -> String {
        let text = String(number)
        return String(repeating: "0", count: max(0, digits - text.count)) + text
    }
}
