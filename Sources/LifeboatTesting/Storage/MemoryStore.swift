// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatIO
package import LifeboatStorage

/// An `ObjectStore` in memory. Thread-safe.
package final class MemoryStore: ObjectStore {
    package let properties = ObjectStoreProperties(
        location: "memory", atomicPutIfAbsent: true, consistentListing: true, durableOnReturn: true,
        maximumObjectSize: nil, usefulConcurrency: 2)

    private let objects = Monitor<[ObjectKey: [UInt8]]>([:])

    package init() {}

    /// Everything it holds: for tests that compare, copy or damage a whole store.
    package var contents: [ObjectKey: [UInt8]] {
        get { objects.withLock { (all: inout [ObjectKey: [UInt8]]) in all } }
        set { objects.withLock { (all: inout [ObjectKey: [UInt8]]) in all = newValue } }
    }

    package func putIfAbsent(
        _ key: ObjectKey, _ pieces: [UnsafeRawBufferPointer]
    ) throws(StorageError) -> Bool {
        let bytes = pieces.flatMap { Array($0) }
        return objects.withLock { (all: inout [ObjectKey: [UInt8]]) in
            guard all[key] == nil else { return false }
            all[key] = bytes
            return true
        }
    }

    package func put(_ key: ObjectKey, _ pieces: [UnsafeRawBufferPointer]) throws(StorageError) {
        let bytes = pieces.flatMap { Array($0) }
        objects.withLock { (all: inout [ObjectKey: [UInt8]]) in all[key] = bytes }
    }

    private func bytes(of key: ObjectKey) throws(StorageError) -> [UInt8] {
        let bytes = objects.withLock { (all: inout [ObjectKey: [UInt8]]) in all[key] }
        guard let bytes else { throw StorageError(.notFound, "get", key.text) }
        return bytes
    }

    package func read(
        _ key: ObjectKey, at offset: UInt64, into destination: UnsafeMutableRawBufferPointer
    ) throws(StorageError) {
        let bytes = try bytes(of: key)
        guard offset <= bytes.count, destination.count <= bytes.count - Int(offset) else {
            throw StorageError(
                .rangeNotSatisfiable, "get", key.text,
                cause: LifeboatError("\(destination.count) bytes at \(offset) are not inside its \(bytes.count) bytes"))
        }
        bytes.withUnsafeBytes {
            destination.copyMemory(
                from: UnsafeRawBufferPointer(rebasing: $0[Int(offset)..<Int(offset) + destination.count]))
        }
    }

    package func get(_ key: ObjectKey, limit: UInt64) throws(StorageError) -> [UInt8] {
        let bytes = try bytes(of: key)
        guard bytes.count <= limit else {
            throw StorageError(
                .full, "get", key.text,
                cause: LifeboatError("it has \(bytes.count) bytes, more than the \(limit) it may have"))
        }
        return bytes
    }

    package func stat(_ key: ObjectKey) throws(StorageError) -> ObjectInfo? {
        objects.withLock { (all: inout [ObjectKey: [UInt8]]) in
            all[key].map { ObjectInfo(key: key, size: UInt64($0.count)) }
        }
    }

    package func list(
        prefix: String, after token: ObjectPageToken?, limit: Int
    ) throws(StorageError) -> ObjectPage {
        let found = objects.withLock { (all: inout [ObjectKey: [UInt8]]) in
            all.filter { key, _ in key.text.hasPrefix(prefix) && token.map { key.text > $0.value } ?? true }
                .map { ObjectInfo(key: $0.key, size: UInt64($0.value.count)) }
        }.sorted { $0.key < $1.key }
        let page = Array(found.prefix(max(1, limit)))
        return ObjectPage(objects: page, next: found.count > page.count ? ObjectPageToken(page.last!.key.text) : nil)
    }

    package func delete(_ key: ObjectKey) throws(StorageError) -> Bool {
        objects.withLock { (all: inout [ObjectKey: [UInt8]]) in all.removeValue(forKey: key) != nil }
    }
}
