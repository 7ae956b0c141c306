// SPDX-License-Identifier: Apache-2.0

import LifeboatStorage
import LifeboatTesting
import Testing

@Suite struct FaultInjectingStoreTests {
    private func key(_ text: String) throws -> ObjectKey { try #require(ObjectKey(text)) }

    private func put(_ store: any ObjectStore, _ text: String, _ bytes: [UInt8]) throws {
        let key = try key(text)
        try bytes.withUnsafeBytes { try store.put(key, [$0]) }
    }

    @Test func theNthCallFailsAndNoOther() throws {
        let memory = MemoryStore()
        let store = FaultInjectingStore(memory)
        store.inject(.failBefore(.full), at: 2)
        try put(store, "a", [1])
        #expect(throws: StorageError.self) { try put(store, "b", [2]) }
        try put(store, "c", [3])
        #expect(store.firedFaults == 1)
        #expect(Set(memory.contents.keys.map(\.text)) == ["a", "c"])
        #expect(store.log.map { "\($0.number) \($0.operation) \($0.subject)" } == ["1 put a", "2 put b", "3 put c"])
    }

    @Test func aLostAnswerHasItsEffect() throws {
        let memory = MemoryStore()
        let store = FaultInjectingStore(memory)
        store.inject(.failAfter(.transient), at: 1, of: [.put])
        do {
            try put(store, "a", [1])
            Issue.record("the put did not fail")
        } catch let error as StorageError {
            #expect(error.kind == .transient)
        }
        #expect(memory.contents.count == 1)
        store.inject(.failAfter(.transient), at: 1, of: [.delete])
        #expect(throws: StorageError.self) { try store.delete(try key("a")) }
        #expect(memory.contents.isEmpty)
    }

    @Test func faultsChooseOperationPrefixAndCount() throws {
        let store = FaultInjectingStore(MemoryStore())
        try put(store, "packs/a", [1])
        try put(store, "index/a", [1])
        store.inject(.failBefore(.transient), at: 2, of: [.stat], prefix: "packs/", repeating: true)
        _ = try store.stat(try key("packs/a"))
        _ = try store.stat(try key("index/a"))
        _ = try store.get(try key("packs/a"), limit: 9)
        for _ in 0..<2 { #expect(throws: StorageError.self) { try store.stat(try key("packs/a")) } }
        _ = try store.stat(try key("index/a"))
        #expect(store.firedFaults == 2)
        store.clearFaults()
        _ = try store.stat(try key("packs/a"))
    }

    @Test func readsAreDamagedAndTheStoreIsNot() throws {
        let memory = MemoryStore()
        let store = FaultInjectingStore(memory)
        try put(store, "a", [0, 0, 0])
        store.inject(.flipBit(byte: 4, bit: 7), at: 1, of: [.get])
        #expect(try store.get(try key("a"), limit: 9) == [0, 0x80, 0])
        #expect(try store.get(try key("a"), limit: 9) == [0, 0, 0])
        store.inject(.truncate(by: 2), at: 1, of: [.get])
        #expect(try store.get(try key("a"), limit: 9) == [0])
        store.inject(.flipBit(byte: 0, bit: 0), at: 1, of: [.read])
        var bytes: [UInt8] = [9, 9]
        let a = try key("a")
        try bytes.withUnsafeMutableBytes { try store.read(a, at: 1, into: $0) }
        #expect(bytes == [1, 0])
        #expect(memory.contents[a] == [0, 0, 0])
    }

    @Test func hiddenObjectsAreGoneForReaders() throws {
        let store = FaultInjectingStore(MemoryStore())
        try put(store, "packs/a", [1])
        try put(store, "packs/b", [1])
        store.hide("packs/a")
        #expect(try store.stat(try key("packs/a")) == nil)
        #expect(throws: StorageError.self) { try store.get(try key("packs/a"), limit: 9) }
        #expect(try store.listAll(prefix: "").map(\.key.text) == ["packs/b"])
        store.clearFaults()
        #expect(try store.listAll(prefix: "").count == 2)
    }
}
