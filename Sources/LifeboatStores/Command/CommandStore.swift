// SPDX-License-Identifier: Apache-2.0

import Glibc
package import LifeboatCore
package import LifeboatIO

/// Anything that a program writes to its standard output and another takes from its standard input.
///
/// Its point in time is the start of the program, which runs from then on; what it writes before its reader comes is held
/// in memory, then the program waits. There is nothing beside which a restore could be staged: it keeps the snapshot's
/// bytes and, at the exchange, the bytes of the capture program of that moment, so that it can be undone.
package struct CommandStore: DataStore {
    static let partName = "output"

    /// The component's name.
    private let name: String
    private let captureWords: [String]
    private let restoreWords: [String]?
    private let minimum: UInt64
    private let environment: [String: Secret]
    private let keepsOld: Bool
    /// Programs run here.
    private let folder: String
    /// Holds staged data, and survives a reboot.
    private let stagingFolder: String
    private let runner: any ProcessRunner

    /// `capture` and `restore` are argument vectors. `minimum` is in bytes. `environment` is added to lifeboat's own.
    package init(
        name: String, capture: [String], restore: [String]? = nil, minimum: UInt64 = 1,
        environment: [String: Secret] = [:], keepsOld: Bool = true, folder: String, stagingFolder: String,
        runner: any ProcessRunner
    ) {
        self.name = name
        captureWords = capture
        restoreWords = restore
        self.minimum = minimum
        self.environment = environment
        self.keepsOld = keepsOld
        self.folder = folder
        self.stagingFolder = stagingFolder
        self.runner = runner
    }

    package var kind: String { "command" }
    package var subject: String { "the output of '\(captureWords.first ?? "")'" }

    private var secrets: [Secret] { Array(environment.values) }

    private func command(_ words: [String]) -> ProcessCommand {
        // The one place the values are needed: the child's environment.
        let variables = environment.mapValues { secret -> String? in secret.reveal { $0 } }
        return ProcessCommand(
            words.first ?? "", Array(words.dropFirst()), environment: variables, inherits: .everything,
            workingDirectory: folder)
    }

    /// Only a run would tell whether it works: nothing is started here.
    package func probe() throws -> StoreProbe {
        guard captureWords.first?.isEmpty == false else { throw LifeboatError("the capture command is empty") }
        return StoreProbe()
    }

    package func fixPoint(_ cancellation: Cancellation) throws -> any CapturePoint {
        CommandPoint(SpooledSource(try start(cancellation), overflow: .wait))
    }

    private func start(_ cancellation: Cancellation) throws -> ProgramSource {
        let process = try runner.start(
            command(captureWords), pipesInput: false, pipesOutput: true, cancellation: cancellation)
        return ProgramSource(
            process, program: captureWords[0], "cannot capture \(subject)", minimum: minimum, secrets: secrets)
    }

    // MARK: Restore

    package func preflightRestore(_ content: any RestoreContent) throws -> [LifeboatError] {
        let subject = "cannot restore \(subject)"
        guard restoreWords != nil else {
            throw LifeboatError(
                subject, causes: ["the policy names no program that takes it back"],
                hint: "Add 'restore' to component '\(name)', or take it out with --to DIR.")
        }
        guard let size = content.streamSize(Self.partName) else {
            throw LifeboatError(subject, causes: ["the snapshot holds no output of it"])
        }
        try FileTree.createFolders(stagingFolder)
        let (needed, overflow) = size.multipliedReportingOverflow(by: keepsOld ? 2 : 1)
        let free = try VolumePlace("\(stagingFolder)/x").freeBytes()
        guard !overflow, free > needed else {
            throw LifeboatError(
                subject, causes: ["it takes \(ByteCount(needed)) in '\(stagingFolder)', free are \(ByteCount(free))"],
                hint: "Free some space there, or set LIFEBOAT_STATE to a folder with more of it.")
        }
        if keepsOld { return [] }
        return [LifeboatError("a restore of component '\(name)' cannot be undone: 'keep_old' is false")]
    }

    package func planStaging(_ restoreID: String) throws -> StagedState {
        guard !restoreID.isEmpty, !restoreID.contains("/") else {
            throw LifeboatError("'\(restoreID)' cannot be part of a folder's name")
        }
        return StagedState(["staged": "\(stagingFolder)/\(restoreID)-\(name)"])
    }

    package func stage(
        _ content: any RestoreContent, _ state: StagedState, progress: any ProgressSink, cancellation: Cancellation
    ) throws {
        let files = try CommandFiles(state)
        try FileTree.remove(files.folder)
        try FileTree.createFolders(files.folder)
        var counters = ProgressCounters()
        counters.bytesTotal = content.streamSize(Self.partName)
        counters.current = subject
        try files.write(try content.openStream(Self.partName), to: files.new) { count in
            try cancellation.check()
            counters.bytesDone += UInt64(count)
            progress.report(.counters(counters))
        }
    }

    package func swap(_ state: StagedState) throws {
        let files = try CommandFiles(state)
        if try files.exists(files.swapped) { return }
        guard try files.exists(files.new) else {
            throw LifeboatError("cannot restore \(subject)", causes: ["its staging is not complete"])
        }
        if keepsOld, try !files.exists(files.old) {
            do {
                try files.write(try start(Cancellation()), to: files.old) { _ in }
            } catch {
                throw LifeboatError.converting(
                    error, "cannot keep what is there before \(subject) is restored",
                    hint: "If there is nothing to keep, set 'keep_old: false' of component '\(name)' in the policy.")
            }
        }
        try files.mark(files.begun)
        try load(files.new)
        try files.mark(files.swapped)
    }

    package func swapBack(_ state: StagedState) throws {
        let files = try CommandFiles(state)
        guard try files.exists(files.begun) else { return }
        guard try files.exists(files.old) else {
            throw LifeboatError(
                "the restore of \(subject) cannot be undone", causes: ["nothing of what was there before was kept"])
        }
        try load(files.old)
        try files.unmark(files.swapped)
        try files.unmark(files.begun)
    }

    /// Its program ended with exit status 0, or the swap would have failed; what it made of the bytes only the stack's
    /// health can tell.
    package func verify(_ content: any RestoreContent) throws -> [FactDifference] { [] }

    package func discard(_ state: StagedState) throws {
        let files = try CommandFiles(state)
        if try files.exists(files.begun), try !files.exists(files.swapped), try files.exists(files.old) {
            throw LifeboatError(
                "the restore of \(subject) stopped half-way",
                causes: ["what was there before is in '\(files.old)'"],
                hint: "Run 'lifeboat restore --resume' with this policy.")
        }
        try FileTree.remove(files.folder)
    }

    /// Feeds a file to the restore program.
    private func load(_ path: String) throws {
        guard let words = restoreWords, let program = words.first else {
            throw LifeboatError("cannot restore \(subject)", causes: ["the policy names no program that takes it back"])
        }
        let source = try FileSource(path)
        let process = try runner.start(command(words), pipesInput: true, pipesOutput: false)
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 20, alignment: 64)
        defer { buffer.deallocate() }
        var isWhole = false
        do {
            while true {
                let count = try source.read(into: buffer)
                if count == 0 { break }
                try process.write(UnsafeRawBufferPointer(rebasing: buffer[..<count]))
            }
            isWhole = true
            try process.closeInput()
        } catch ProcessError.inputClosed {
            // It ended early; how and why is told by its end, below.
        } catch {
            process.terminate(grace: 2)
            throw error
        }
        let result = try process.finish()
        guard result.termination.succeeded, isWhole else {
            var causes = ["\(program): \(result.termination)"]
            if result.termination.succeeded { causes.append("it ended before it had taken all of its input") }
            throw LifeboatError(
                "cannot restore \(subject)", causes: causes + ProgramText.lines(result.standardError, secrets))
        }
    }
}

/// The program runs.
private struct CommandPoint: CapturePoint {
    private let source: SpooledSource

    init(_ source: SpooledSource) { self.source = source }

    var method: String { "standard output of a program" }
    var parts: [CapturePart] {
        [.stream(name: CommandStore.partName) { [source] in source }]
    }
    func facts() throws -> StoreFacts { StoreFacts() }
    func release() { source.close() }
}

/// What a restore keeps of a component, in a folder of its own.
private struct CommandFiles {
    let folder: String
    /// The snapshot's bytes, whole.
    var new: String { "\(folder)/new" }
    /// What the capture program gave just before the exchange, whole.
    var old: String { "\(folder)/old" }
    /// Exists once the restore program may have been started.
    var begun: String { "\(folder)/begun" }
    /// Exists once it has ended well.
    var swapped: String { "\(folder)/swapped" }

    init(_ state: StagedState) throws {
        guard let folder = state.values["staged"], folder.hasPrefix("/") else {
            throw LifeboatError("the journal does not say where the staged data is")
        }
        self.folder = folder
    }

    /// The whole source as a file that appears only when it is whole.
    func write(_ source: any ByteSource, to path: String, _ progress: (Int) throws -> Void) throws {
        defer { source.close() }
        let temporary = path + AtomicFile.temporarySuffix
        unlink(temporary)
        let file = try OwnedDescriptor.open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW)
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 20, alignment: 64)
        defer { buffer.deallocate() }
        while true {
            let count = try source.read(into: buffer)
            if count == 0 { break }
            try DescriptorIO.write(file.raw, UnsafeRawBufferPointer(rebasing: buffer[..<count]), temporary)
            try progress(count)
        }
        try DescriptorIO.synchronize(file.raw, temporary)
        try file.close(temporary)
        guard rename(temporary, path) == 0 else { throw SystemCallError("rename to", path) }
        try AtomicFile.synchronizeFolder(of: path)
    }

    func mark(_ path: String) throws { try AtomicFile.write("\n", to: path) }

    func unmark(_ path: String) throws {
        guard unlink(path) == 0 || errno == ENOENT else { throw SystemCallError("remove", path) }
        try AtomicFile.synchronizeFolder(of: path)
    }

    func exists(_ path: String) throws -> Bool {
        if access(path, F_OK) == 0 { return true }
        guard errno == ENOENT else { throw SystemCallError("examine", path) }
        return false
    }
}
