// SPDX-License-Identifier: Apache-2.0

/// Opens blocks of one payload, one at a time. Used on one thread at a time.
@safe
final class AgeBlockOpener {
    private let cipher: ChaCha20Poly1305
    private var scratch: UnsafeMutableRawBufferPointer?

    init(_ payloadKey: SecretBytes) throws(AgeError) {
        cipher = try AgeError.wrapping(try ChaCha20Poly1305(payloadKey, seals: false))
    }

    deinit {
        if let scratch = unsafe scratch {
            unsafe wipe(scratch)
            unsafe scratch.deallocate()
        }
    }

    /// Whether `sealed` is block `block`; its plain bytes are in `target` if so, and nothing if not.
    func tryOpen(
        _ sealed: UnsafeRawBufferPointer, _ block: UInt64, isLast: Bool, into target: UnsafeMutableRawBufferPointer
    ) throws(AgeError) -> Bool {
        do {
            return try unsafe cipher.open(sealed, .init(counter: block, isLast: isLast), into: target)
        } catch {
            throw .library(error)
        }
    }

    func open(
        _ sealed: UnsafeRawBufferPointer, _ block: UInt64, isLast: Bool, into target: UnsafeMutableRawBufferPointer
    ) throws(AgeError) {
        if try unsafe tryOpen(sealed, block, isLast: isLast, into: target) { return }
        // A whole block that was written as one in the middle: the file was cut right behind it.
        if isLast, sealed.count == AgePayload.sealedBlockSize,
            try unsafe tryOpen(sealed, block, isLast: false, into: target)
        {
            unsafe wipe(target)
            throw .truncated("the payload ends after block \(block), which is not its last")
        }
        throw .payload(Self.damaged(block, sealed.count))
    }

    /// Opens into memory that lives until the next call.
    func openScratch(
        _ sealed: UnsafeRawBufferPointer, _ block: UInt64, isLast: Bool
    ) throws(AgeError) -> UnsafeRawBufferPointer {
        let buffer = unsafe scratch ?? .allocate(byteCount: AgePayload.blockSize, alignment: 64)
        unsafe scratch = unsafe buffer
        let target = unsafe UnsafeMutableRawBufferPointer(
            rebasing: buffer[..<min(AgePayload.blockSize, max(0, sealed.count - AgePayload.tagSize))])
        try unsafe open(sealed, block, isLast: isLast, into: target)
        return UnsafeRawBufferPointer(target)
    }

    static func damaged(_ block: UInt64, _ count: Int) -> String {
        "block \(block) of the payload is damaged" + (count < AgePayload.sealedBlockSize ? " or cut short" : "")
    }
}
