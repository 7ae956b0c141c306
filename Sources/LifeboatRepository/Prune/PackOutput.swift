// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatIO
import LifeboatStorage

/// Packs that a prune writes: frames in, packs out, through a thread that stores them. No index names them yet. Used on
/// one thread.
struct PackOutput {
    /// What an upload thread hands back.
    private struct Uploaded: Sendable {
        var packs: [PackContents] = []
    }

    private let packs: PackAssembler
    private let uploader: BlockingThread<Void>
    private let uploaded = Monitor(Uploaded())

    init(_ repository: Repository) {
        let packs = PackAssembler(
            maximumFrame: ChunkWorker.maximumFrame(maximumChunk: repository.config.chunker.maximum),
            repository.sealing)
        let store = repository.store
        let uploaded = self.uploaded
        self.packs = packs
        uploader = BlockingThread<Void>(name: "uploader") {
            do {
                try packs.uploadPacks(to: store) { pack in uploaded.withLock { $0.packs.append(pack) } }
            } catch {
                packs.abandon()
                throw error
            }
        }
    }

    func append(_ frame: UnsafeRawBufferPointer, plainLength: Int, members: [FrameMember]) throws {
        try packs.append(frame, plainLength: plainLength, members: members)
    }

    /// Runs `body`, which appends; then every pack is durable. Gives the packs.
    func fill(_ body: () throws -> Void) throws -> [PackContents] {
        do {
            try body()
            packs.close()
            try uploader.join()
        } catch {
            packs.abandon()
            // The upload's own failure is the reason, when it is one.
            do { try uploader.join() } catch let failure as LifeboatError where failure.exitCode == .interrupted {
                throw error
            }
            throw error
        }
        return uploaded.withLock { $0.packs }
    }
}
