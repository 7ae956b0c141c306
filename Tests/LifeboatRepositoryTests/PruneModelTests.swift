// SPDX-License-Identifier: Apache-2.0

import LifeboatRepository
import Testing

@Suite struct PruneModelTests {
    static let histories: [PruneModel.History] = [
        PruneModel.History(
            name: "a backup finds unused data again", packs: [1], manifests: [],
            processes: [.backup(chunk: 1, newPack: 4, samePack: 0), .prune(favourite: 0, copies: nil)], crashes: 1),
        PruneModel.History(
            name: "two backups, one prune", packs: [1], manifests: [],
            processes: [
                .backup(chunk: 1, newPack: 4, samePack: 0), .backup(chunk: 1, newPack: 5, samePack: 0),
                .prune(favourite: 0, copies: nil),
            ], crashes: 0),
        PruneModel.History(
            name: "two prunes prefer different copies", packs: [1, 1], manifests: [1],
            processes: [.prune(favourite: 0, copies: nil), .prune(favourite: 1, copies: nil)], crashes: 1),
        PruneModel.History(
            name: "a backup beside two prunes", packs: [1], manifests: [],
            processes: [
                .backup(chunk: 1, newPack: 4, samePack: 0), .prune(favourite: 0, copies: nil),
                .prune(favourite: 0, copies: nil),
            ], crashes: 0),
        PruneModel.History(
            name: "a pack is rewritten while a backup refers to its unused part", packs: [3], manifests: [1],
            processes: [
                .backup(chunk: 2, newPack: 4, samePack: 0), .prune(favourite: 0, copies: (from: 0, to: 6)),
            ], crashes: 1),
        PruneModel.History(
            name: "a snapshot is forgotten while the next is made", packs: [1], manifests: [1],
            processes: [
                .backup(chunk: 1, newPack: 4, samePack: 0), .forget(manifest: 0), .prune(favourite: 0, copies: nil),
            ], crashes: 1),
    ]

    @Test(arguments: histories.indices) func noManifestEverLosesAChunk(number: Int) {
        let history = Self.histories[number]
        let (states, violation) = PruneModel(history: history, mutation: nil).explore()
        #expect(violation == nil, "\(history.name), \(states) states")
        #expect(states > 100, "\(history.name) was not explored")
    }

    /// The exploration is worth something: it finds the fault of every protocol that lacks one of its rules.
    @Test(arguments: PruneModel.Mutation.allCases) func aProtocolWithoutOneOfItsRulesIsFoundWrong(
        mutation: PruneModel.Mutation
    ) {
        #expect(
            Self.histories.contains { PruneModel(history: $0, mutation: mutation).explore().violation != nil },
            "\(mutation)")
    }
}
