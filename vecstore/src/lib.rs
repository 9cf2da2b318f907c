//! An embedded vector store for data larger than memory, over any io-core backend
