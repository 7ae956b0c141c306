// swift-tools-version: 6.3
// SPDX-License-Identifier: Apache-2.0

import PackageDescription

// One table describes the architecture: a target may import only what its row names.
// `--explicit-target-dependency-import-check error` (scripts/test) and PackageStructureTests hold the code to it.

/// C libraries of the system: a module map and a shim header each, imported by exactly one target.
let systemLibraries: [Target] = [
    .systemLibrary(name: "CLinux"),
    .systemLibrary(
        name: "CLibArchive", pkgConfig: "libarchive", providers: [.apt(["libarchive-dev"])]),
    .systemLibrary(name: "CLibZstd", pkgConfig: "libzstd", providers: [.apt(["libzstd-dev"])]),
    .systemLibrary(
        name: "CLibCurl", pkgConfig: "libcurl", providers: [.apt(["libcurl4-openssl-dev"])]),
    .systemLibrary(name: "CLibCrypto", pkgConfig: "libcrypto", providers: [.apt(["libssl-dev"])]),
    .systemLibrary(name: "CLibPQ", pkgConfig: "libpq", providers: [.apt(["libpq-dev"])]),
    .systemLibrary(name: "CSQLite", pkgConfig: "sqlite3", providers: [.apt(["libsqlite3-dev"])]),
]

let argumentParser: Target.Dependency = .product(name: "ArgumentParser", package: "swift-argument-parser")
let yams: Target.Dependency = .product(name: "Yams", package: "Yams")

let core = ["LifeboatCore"]
let coreIO = core + ["LifeboatIO"]
let allButBackup =
    coreIO + [
        "LifeboatFormats", "LifeboatHTTP", "LifeboatStorage", "LifeboatRepository", "LifeboatPolicy",
        "LifeboatServices", "LifeboatStores",
    ]

func dependencies(_ names: [String], _ external: [Target.Dependency] = []) -> [Target.Dependency] {
    names.map { .byName(name: $0) } + external
}

let libraries: [Target] = [
    .target(name: "LifeboatCore", dependencies: []),
    .target(name: "LifeboatIO", dependencies: dependencies(core + ["CLinux"])),
    .target(
        name: "LifeboatFormats",
        dependencies: dependencies(coreIO + ["CBlake3", "CLibArchive", "CLibCrypto", "CLibZstd"])),
    .target(name: "LifeboatHTTP", dependencies: dependencies(coreIO + ["CLibCurl"])),
    .target(
        name: "LifeboatStorage",
        dependencies: dependencies(coreIO + ["LifeboatHTTP"])),
    .target(
        name: "LifeboatRepository",
        dependencies: dependencies(coreIO + ["LifeboatFormats", "LifeboatStorage"])),
    .target(name: "LifeboatPolicy", dependencies: dependencies(core, [yams])),
    .target(
        name: "LifeboatServices",
        dependencies: dependencies(coreIO + ["LifeboatHTTP"])),
    .target(
        name: "LifeboatStores",
        dependencies: dependencies(
            coreIO + ["LifeboatFormats", "LifeboatHTTP", "CLibPQ", "CSQLite"])),
    .target(name: "LifeboatBackup", dependencies: dependencies(allButBackup)),
    .target(name: "LifeboatRestore", dependencies: dependencies(allButBackup)),
    .target(name: "LifeboatDrill", dependencies: dependencies(allButBackup + ["LifeboatRestore"])),
    .target(
        name: "LifeboatCommands",
        dependencies: dependencies(
            allButBackup + ["LifeboatBackup", "LifeboatRestore", "LifeboatDrill"], [argumentParser])),
]

let executables: [Target] = [
    .executableTarget(name: "lifeboat", dependencies: dependencies(coreIO + ["LifeboatCommands"]))
]

/// Test support is a target of its own so that one scenario runs in-process and against the built binary.
let testing: [Target] =
    [
        .target(
            name: "LifeboatTesting",
            dependencies: dependencies(
                allButBackup + ["LifeboatBackup", "LifeboatRestore", "LifeboatDrill", "LifeboatCommands"]),
            path: "Sources/LifeboatTesting")
    ]
    + [
        "LifeboatCore", "LifeboatIO", "LifeboatFormats", "LifeboatHTTP", "LifeboatStorage",
        "LifeboatRepository", "LifeboatPolicy", "LifeboatServices", "LifeboatStores", "LifeboatBackup",
        "LifeboatRestore", "LifeboatDrill", "LifeboatCommands",
    ].map { name in
        .testTarget(
            name: "\(name)Tests",
            dependencies: dependencies(
                allButBackup + [
                    "LifeboatBackup", "LifeboatRestore", "LifeboatDrill", "LifeboatCommands", "LifeboatTesting",
                ]))
    }
    + [
        .testTarget(
            name: "LifeboatScenarioTests",
            dependencies: dependencies(
                allButBackup + [
                    "LifeboatBackup", "LifeboatRestore", "LifeboatDrill", "LifeboatCommands", "LifeboatTesting",
                    "lifeboat", "LifeboatFuzz",
                ]))
    ]

/// Parsers on hostile input, in a process of its own. Not a product.
let fuzzing: [Target] = [
    .executableTarget(
        name: "LifeboatFuzz",
        dependencies: dependencies(
            coreIO + ["LifeboatFormats", "LifeboatStorage", "LifeboatRepository", "LifeboatPolicy", "LifeboatStores"]),
        path: "Tests/LifeboatFuzz")
]

let package = Package(
    name: "lifeboat",
    products: [.executable(name: "lifeboat", targets: ["lifeboat"])],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
        .package(url: "https://github.com/jpsim/Yams", from: "6.2.2"),
    ],
    targets: systemLibraries
        + [
            .target(
                name: "CBlake3", cSettings: [.unsafeFlags(["-O3", "-std=c11", "-Wall", "-Wextra", "-Werror"])])
        ] + libraries + executables + testing + fuzzing,
    swiftLanguageModes: [.v6]
)

/// Targets that wrap C libraries mark every unsafe expression.
let wrapperTargets: Set<String> = ["LifeboatFormats", "LifeboatHTTP"]

for target in package.targets where target.type != .system && target.name != "CBlake3" {
    var settings: [SwiftSetting] = [
        .enableUpcomingFeature("ExistentialAny"),
        .enableUpcomingFeature("MemberImportVisibility"),
        .enableUpcomingFeature("InternalImportsByDefault"),
        .enableUpcomingFeature("NonisolatedNonsendingByDefault"),
        .treatAllWarnings(as: .error),
    ]
    if wrapperTargets.contains(target.name) {
        settings.append(.strictMemorySafety())
    }
    target.swiftSettings = settings
}
