// SPDX-License-Identifier: Apache-2.0

import LifeboatIO
import LifeboatStorage
import LifeboatTesting
import Testing

@Suite struct ObjectStoreContractTests {
    @Test(arguments: ObjectStoreContract.all) func localFolder(contract: ObjectStoreContract) throws {
        let folder = try TemporaryFolder()
        defer { #expect(throws: Never.self) { try folder.remove() } }
        try contract.check(try LocalFolderStore.create(at: "\(folder.path)/repository"))
    }

    @Test(arguments: ObjectStoreContract.all) func memory(contract: ObjectStoreContract) throws {
        try contract.check(MemoryStore())
    }

    @Test(arguments: ObjectStoreContract.all) func faultInjectingWithoutFaults(contract: ObjectStoreContract) throws {
        let store = FaultInjectingStore(MemoryStore())
        try contract.check(store)
        #expect(store.firedFaults == 0)
        #expect(!store.log.isEmpty)
    }

    /// A contract that a broken store passes proves nothing.
    @Test func theContractFindsBrokenStores() throws {
        func violations(_ fault: FaultInjectingStore.Fault, _ operation: FaultInjectingStore.Operation) -> [String] {
            ObjectStoreContract.all.filter { contract in
                let store = FaultInjectingStore(MemoryStore())
                store.inject(fault, at: 1, of: [operation], repeating: true)
                do { try contract.check(store) } catch { return true }
                return false
            }.map(\.description)
        }
        #expect(violations(.flipBit(byte: 0, bit: 0), .get).count >= 5)
        #expect(violations(.flipBit(byte: 0, bit: 0), .read).count >= 2)
        #expect(violations(.truncate(by: 1), .get).count >= 5)
        #expect(violations(.failAfter(.transient), .put).count >= 8)
        #expect(violations(.failBefore(.other), .list).count >= 5)
        #expect(violations(.failBefore(.notFound), .delete).count >= 3)
    }
}
