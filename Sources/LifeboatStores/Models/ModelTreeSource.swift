// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatFormats
import LifeboatIO

/// The tree of a model store: only the models that were there when the point was fixed, each file that is read compared
/// with the digest it is named by.
///
/// A download that ends during the capture would otherwise bring its manifest and not all of its blobs, which the walk
/// had passed already.
final class ModelTreeSource: FileTreeSource {
    private let source: any FileTreeSource
    private let contents: [String: ModelContent]
    private let isKept: @Sendable (String) -> Bool
    private let findings = DamageFindings()

    /// Files that were read and whose content was not what it should be, by path, with the reason.
    var damaged: [String: String] { findings.reasons.withLock { $0 } }

    /// `contents` by path; `isKept` says whether a path belongs into the snapshot.
    init(
        _ source: any FileTreeSource, contents: [String: ModelContent], isKept: @escaping @Sendable (String) -> Bool
    ) {
        self.source = source
        self.contents = contents
        self.isKept = isKept
    }

    func walk(_ cancellation: Cancellation) throws -> any FileTreeWalk {
        ModelTreeWalk(try source.walk(cancellation), contents, isKept, findings, cancellation)
    }
}

private final class ModelTreeWalk: FileTreeWalk {
    private let walk: any FileTreeWalk
    private let contents: [String: ModelContent]
    private let isKept: @Sendable (String) -> Bool
    private let findings: DamageFindings
    private let cancellation: Cancellation

    init(
        _ walk: any FileTreeWalk, _ contents: [String: ModelContent], _ isKept: @escaping @Sendable (String) -> Bool,
        _ findings: DamageFindings, _ cancellation: Cancellation
    ) {
        self.findings = findings
        self.cancellation = cancellation
        self.walk = walk
        self.contents = contents
        self.isKept = isKept
    }

    func next() throws -> FileTreeItem? {
        while var item = try walk.next() {
            let path = String(decoding: item.entry.path, as: UTF8.self)
            if item.entry.kind != .directory, !isKept(path) { continue }
            if let content = contents[path], let opener = item.opener {
                item.opener = VerifyingOpener(
                    opener: opener, expected: content, path: path, findings: findings, cancellation: cancellation)
            }
            return item
        }
        return nil
    }

    func complete(_ item: inout FileTreeItem) throws { try walk.complete(&item) }

    func close() { walk.close() }
}

/// A file of the store and what its content must be.
struct ModelContent: Sendable {
    var content: ContentName
    var size: UInt64
    /// The whole path.
    var place: String
}

private struct VerifyingOpener: FileOpener {
    let opener: any FileOpener
    let expected: ModelContent
    let path: String
    let findings: DamageFindings
    let cancellation: Cancellation

    func open() throws -> any FileContentSource {
        try VerifiedContent(try opener.open(), expected, path, findings, cancellation)
    }
}

/// Reasons by path, from the thread that reads.
private final class DamageFindings: Sendable {
    let reasons = Monitor<[String: String]>([:])
}

/// A file whose content is hashed as it is read. One with holes is read again for that, since a capture passes over
/// them.
private final class VerifiedContent: FileContentSource {
    private let source: any FileContentSource
    private let expected: ModelContent
    private let path: String
    private let findings: DamageFindings
    private let cancellation: Cancellation
    private var digest: ContentDigest

    init(
        _ source: any FileContentSource, _ expected: ModelContent, _ path: String, _ findings: DamageFindings,
        _ cancellation: Cancellation
    ) throws {
        self.path = path
        self.findings = findings
        self.source = source
        self.expected = expected
        self.cancellation = cancellation
        digest = try ContentDigest(expected.content, size: expected.size)
    }

    func read(into buffer: UnsafeMutableRawBufferPointer) throws -> Int {
        let count = try source.read(into: buffer)
        try digest.update(UnsafeRawBufferPointer(rebasing: buffer[..<count]))
        return count
    }

    /// Content that is not what it should be is kept, since a damaged file may be better than none, and its entry says so.
    func finish(_ entry: inout TreeEntry) throws -> FileReadOutcome {
        let outcome = try source.finish(&entry)
        guard outcome == .consistent else { return outcome }
        var damage: ModelFileError?
        if digest.count != entry.size {
            do {
                try ContentDigest.verify(expected.place, expected.content, cancellation)
            } catch let error as ModelFileError {
                damage = error
            }
        } else if let found = try digest.mismatch() {
            damage = ContentDigest.damaged(found, expected.content)
        }
        findings.reasons.withLock { $0[path] = damage?.reason }
        if let damage { entry.addProblem(damage.reason) }
        return outcome
    }

    func close() { source.close() }
}
