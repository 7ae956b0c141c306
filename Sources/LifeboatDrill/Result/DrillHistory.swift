// SPDX-License-Identifier: Apache-2.0

package import LifeboatCore
package import LifeboatRepository
import LifeboatStorage

/// The drills of a stack that a repository holds.
package struct DrillHistory {
    package struct Entry {
        package var id: Digest
        package var result: DrillResult
    }

    /// Ascending by time.
    package let entries: [Entry]
    /// Results that cannot be read or are not signed, by name.
    package let damaged: [LifeboatError]

    package init(_ repository: Repository, stack: String) throws {
        try repository.requireKey()
        var entries: [Entry] = []
        var damaged: [LifeboatError] = []
        for key in try DrillRecords.keys(repository, stack: stack) {
            do {
                let record = try DrillRecords.read(key, repository)
                guard let result = try? CanonicalJSON.decode(DrillResult.self, from: record.bytes),
                    result.format == DrillResult.currentFormat, result.stack == stack,
                    result.repositoryID == repository.config.repositoryID
                else { throw RepositoryError.damaged(key.text, "it is no result of a drill of this stack") }
                entries.append(Entry(id: record.id, result: result))
            } catch {
                damaged.append(LifeboatError.converting(error))
            }
        }
        self.entries = entries.sorted { ($0.result.ended, $0.id) < ($1.result.ended, $1.id) }
        self.damaged = damaged
    }

    /// Stores a result and reads it back.
    package static func store(_ result: DrillResult, in repository: Repository) throws -> Digest {
        let bytes = try CanonicalJSON.encode(result, pretty: true) + [0x0A]
        let id = try DrillRecords.store(bytes, stack: result.stack, time: result.ended, to: repository)
        let key = RepositoryLayout.drill(stack: result.stack, time: result.ended, id: id)
        guard try DrillRecords.read(key, repository).bytes == bytes else {
            throw RepositoryError.damaged(key.text, "it does not read back as written")
        }
        return id
    }

    /// What people type: `latest`, or an id of at least 4 digits.
    package func find(_ text: String) throws -> Entry {
        if text == "latest" {
            guard let last = entries.last else {
                throw LifeboatError(
                    "there is no drill", causes: damaged.map(\.message), hint: "Run one with 'lifeboat drill'.")
            }
            return last
        }
        guard text.utf8.count >= 4 else {
            throw LifeboatError(
                "'\(text)' is not a drill",
                hint: "Give 'latest' or at least 4 digits of an id that 'lifeboat drill history' lists.",
                exitCode: .usage)
        }
        let matching = entries.filter { $0.id.hex.hasPrefix(text) }
        guard let match = matching.first, matching.count == 1 else {
            throw LifeboatError(
                matching.isEmpty ? "there is no drill '\(text)'" : "'\(text)' names \(matching.count) drills",
                causes: matching.isEmpty ? damaged.map(\.message) : matching.map(\.id.shortHex),
                hint: "List what there is with 'lifeboat drill history'.")
        }
        return match
    }
}
